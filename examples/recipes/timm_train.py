"""timm's train.py with a network of your own: make the network known to timm, then run the script.

    zoo transfer --target timm_train.py --auto --available -o start.safetensors
    python timm_train.py train.py --model smallnet --num-classes 10 --initial-checkpoint start.safetensors ...

train.py is the script in timm's repository; the second line runs it with all the arguments that follow its name.
"""

import runpy
import sys

from network import SmallNet  # yours
from timm.models import register_model
from torch import nn


@register_model
def smallnet(pretrained: bool = False, num_classes: int = 10, **_: object) -> nn.Module:
    """Build what `--model smallnet` names. Other settings that timm passes are of no use to this network."""
    model = SmallNet(n_classes=num_classes)
    model.num_classes = num_classes
    return model


def build_model() -> nn.Module:
    """Build what zoo takes as the target; with the classes of your data."""
    return smallnet(num_classes=10)


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
