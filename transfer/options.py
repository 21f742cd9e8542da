"""What `dpiat` does beyond copying; each of it can be switched off. The published method has no options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from transfer.errors import MethodError

__all__ = ["ChannelChoice", "ImageChannels", "Options"]

ChannelChoice = Literal["importance", "leading"]
ImageChannels = Literal["adapt", "zero"]


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of the `dpiat` method.

    Parameters
    ----------
    head : bool
        Copy the classifier where the class counts agree, otherwise it stays fresh; without it, it stays as it is.
    quiet_head : bool
        Shrink the random weights of a classifier of other classes to the spread of the source's, if that is less.
    zero_new_inputs : bool
        Where a layer grew, start the weights from its new inputs into its old outputs at zero, so that the old
        outputs compute what they did; new outputs keep their random initialisation.
    identity_blocks : bool
        Let blocks and layers that the source has no counterpart for start as identity where they can; otherwise
        several blocks fed by one each add their share of what it added.
    split_fused : bool
        Crop query, key and value, or the two halves of a gated layer, each by itself.
    resample : bool
        Bring position embeddings, tables of relative positions, patch embeddings and the channels
        of the image to the target's size, as timm does for its own models; otherwise crop them. Spread and sum
        kernels of other dimensions; otherwise they stay fresh.
    keep_norms : bool
        Where a transformer grows in width, start the new channels of its residual stream as the mean of the old
        ones, so that layer norm sees the same mean and variance.
    rescale : bool
        Where a layer loses inputs and no norm follows it, enlarge the weights that are left so that its outputs
        keep their spread.
    compensate : bool
        Where a layer loses inputs, or blocks whose sum it reads, and a batch norm follows it, take out of the
        running statistics what those contributed.
    gates : bool
        Let squeeze-excite branches that only the target has start by passing all channels alike, and put what those
        that only the source has do on average into the weights that read their channels.
    fold : bool
        Bring over what the source computes in another form: fold batch norms into layers that have none in the
        target, take biases out of running means, let norms of another kind have scale and bias, and set what the
        source's layers lack to what changes nothing.
    channels : {'importance', 'leading'}
        Which channels a narrower target gets: of each coupled group those whose weights matter most to what reads
        them, or the first ones.
    image_channels : {'adapt', 'zero'}
        What images of more or fewer channels get: weights that are repeated and scaled, as timm does it, so that
        grey images give what they gave; or each channel the weights that it had, with zero for new ones, so that
        RGB gives what it gave whatever a fourth channel holds.
    """

    head: bool = True
    quiet_head: bool = True
    zero_new_inputs: bool = True
    identity_blocks: bool = True
    split_fused: bool = True
    resample: bool = True
    keep_norms: bool = True
    rescale: bool = True
    compensate: bool = True
    gates: bool = True
    fold: bool = True
    channels: ChannelChoice = "importance"
    image_channels: ImageChannels = "adapt"

    def __post_init__(self) -> None:
        if self.channels not in get_args(ChannelChoice):
            raise MethodError(f"expected channels 'importance' or 'leading', got {self.channels!r}")
        if self.image_channels not in get_args(ImageChannels):
            raise MethodError(f"expected image_channels 'adapt' or 'zero', got {self.image_channels!r}")
