"""Write the digits as folders of images, as timm's train.py reads them. Run: `python digit_folders.py`."""

from pathlib import Path

from network import digits  # yours
from torchvision.utils import save_image

N_IMAGES, N_FOR_TRAINING = 360, 256

if __name__ == "__main__":
    for number, (image, label) in enumerate(digits(N_IMAGES)):
        folder = Path("digits", "train" if number < N_FOR_TRAINING else "validation", str(label.item()))
        folder.mkdir(parents=True, exist_ok=True)
        save_image(image / 2 + 0.5, folder / f"{number}.png")
