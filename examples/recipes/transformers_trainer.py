"""transformers' Trainer: an architecture of that library in a size that nobody has pretrained.

Run: `python transformers_trainer.py`.
"""

from network import digits  # yours
from torch.utils.data import Dataset
from transformers import (
    EfficientNetConfig,
    EfficientNetForImageClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

import zoo_index


class Digits(Dataset):
    """Items as the Trainer takes them: what the model's forward is called with, by name."""

    def __init__(self) -> None:
        self.items = digits(size=64)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        """Return one image and its label."""
        image, label = self.items[index]
        return {"pixel_values": image, "labels": label}


def main(n_steps: int = 20) -> None:
    """Start from a pretrained network of another library, then train as always."""
    set_seed(0)
    # EfficientNet-B0 with three blocks less: from_pretrained has no weights of these depths.
    config = EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        num_block_repeats=[1, 2, 2, 2, 2, 3, 1],
        hidden_dim=1280,
        num_labels=10,
        dropout_rate=0.2,
    )
    model = EfficientNetForImageClassification(config)

    report = zoo_index.warm_start(model, available=True)
    fresh = report.counts()["fresh"]
    print(f"started from {report.source}: {report.coverage:.1%} filled, {fresh} tensors fresh")

    arguments = TrainingArguments(
        output_dir="trained",
        max_steps=n_steps,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        logging_steps=5,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=Digits()).train()


if __name__ == "__main__":
    main()
