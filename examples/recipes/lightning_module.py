"""Lightning: fill the network before the module gets it. Run: `python lightning_module.py`."""

import lightning
import torch
from network import SmallNet, digits  # yours
from torch.utils.data import DataLoader

import zoo_index


class Classifier(lightning.LightningModule):
    """An ordinary module: it takes a network and knows nothing of where its parameters came from."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def training_step(self, batch, batch_index):
        """Return the loss of a batch."""
        images, labels = batch
        loss = torch.nn.functional.cross_entropy(self.network(images), labels)
        if self.global_step % 5 == 0:
            print(f"step {self.global_step:3d}  loss {loss.item():.3f}")
        return loss

    def configure_optimizers(self):
        """Train all parameters."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main(n_steps: int = 20) -> None:
    """Start from a pretrained network, then fit as always."""
    lightning.seed_everything(0, verbose=False)
    network = SmallNet()

    # Here, and not in Classifier.__init__: load_from_checkpoint calls that, too,
    # and brings weights of its own.
    report = zoo_index.warm_start(network, available=True)
    fresh = report.counts()["fresh"]
    print(f"started from {report.source}: {report.coverage:.1%} filled, {fresh} tensors fresh")

    trainer = lightning.Trainer(
        max_steps=n_steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(network), DataLoader(digits(), batch_size=16, shuffle=True))


if __name__ == "__main__":
    main()
