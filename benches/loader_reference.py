"""What `loader.rs` does, in the field's usual Python: one thread, the same JPEGs, images a second.

    python loader_reference.py FOLDER [ROUNDS]

Needs numpy, Pillow, OpenCV and Albumentations.
"""

import sys
import time
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
from PIL import Image

SIZE = 224
BATCH = 16
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

AUGMENT = A.Compose(
    [
        A.VerticalFlip(p=0.5),
        A.HorizontalFlip(p=0.5),
        A.ShiftScaleRotate(
            shift_limit=0.0625, scale_limit=0.5, rotate_limit=45, p=0.5, border_mode=cv2.BORDER_REFLECT_101
        ),
        A.RandomRotate90(p=0.5),
        A.RandomBrightnessContrast(p=0.5),
    ]
)


def planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def opencv_augmented(path: str) -> np.ndarray:
    pixels = cv2.resize(cv2.imread(path), (SIZE, SIZE))
    return planes(AUGMENT(image=pixels)["image"]) / 255


def pillow_plain(path: str) -> np.ndarray:
    pixels = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return planes((np.asarray(pixels, dtype=np.float32) / 255 - MEAN) / STD)


def main() -> None:
    cv2.setNumThreads(1)
    paths = sorted(str(path) for path in Path(sys.argv[1]).rglob("*.jpg"))[:64]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    for name, load in {"opencv/224/augmented": opencv_augmented, "pillow/224/plain": pillow_plain}.items():
        seconds = []
        for _ in range(rounds):
            # Time of this thread on a core: what other programs do does not count.
            start = time.thread_time()
            for first in range(0, len(paths), BATCH):
                np.stack([load(path) for path in paths[first : first + BATCH]])
            seconds.append(time.thread_time() - start)
        rate = [len(paths) / second for second in (sorted(seconds)[rounds // 2], min(seconds))]
        print(f"{name}: median {rate[0]:.0f}, best {rate[1]:.0f} images a second")


if __name__ == "__main__":
    main()
