"""Writes the reference images beside this file, with Pillow, OpenCV and Albumentations.

    python generate.py

Every expected picture is a PNG, so that the tests read exactly the bytes that the references produced. `versions.json`
says which releases they were. Inputs are drawn by formula; no photograph is among them.
"""

import json
from pathlib import Path

import albumentations
import cv2
import numpy as np
import PIL
from PIL import Image

HERE = Path(__file__).parent


def picture(width: int, height: int) -> np.ndarray:
    """A smooth ground, a dark disc with a sharp edge, a few hairs and some grain: RGB, uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    rgb = np.stack([215 - 60 * u, 165 + 30 * v - 20 * u, 130 + 50 * u * v], axis=-1)
    disc = (u - 0.55) ** 2 + (v - 0.42) ** 2 < 0.06
    rgb[disc] *= [0.45, 0.40, 0.50]
    rgb[np.abs(u + 0.7 * v - 0.9) < 0.012] = [35, 25, 20]
    rgb += np.random.default_rng(7).normal(0, 2, rgb.shape)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def save(name: str, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(HERE / name, optimize=True)


def main() -> None:
    wide = picture(66, 45)
    save("wide.png", wide)
    for size in (24, 72):
        save(f"wide.pillow.{size}.png", np.asarray(Image.fromarray(wide).resize((size, size), Image.Resampling.BILINEAR)))
        bicubic = Image.fromarray(wide).resize((size, size), Image.Resampling.BICUBIC)
        save(f"wide.pillow_bicubic.{size}.png", np.asarray(bicubic))
        save(f"wide.nearest.{size}.png", np.asarray(Image.fromarray(wide).resize((size, size), Image.Resampling.NEAREST)))
        save(f"wide.opencv.{size}.png", cv2.resize(wide, (size, size), interpolation=cv2.INTER_LINEAR))

    # torchvision's Resize(31), which gives 45 x 31 pixels, and CenterCrop(24): `round` of 10.5 and 3.5.
    scaled = Image.fromarray(wide).resize((66 * 31 // 45, 31), Image.Resampling.BILINEAR)
    left, top = round((scaled.width - 24) / 2), round((scaled.height - 24) / 2)
    save("wide.cropped.png", np.asarray(scaled.crop((left, top, left + 24, top + 24))))

    for name, options in {"baseline": {}, "progressive": {"progressive": True}, "subsampled": {"subsampling": 2}}.items():
        Image.fromarray(wide).save(HERE / f"{name}.jpg", quality=90, **({"subsampling": 0} | options))
        if name != "progressive":  # the same coefficients as `baseline`
            save(f"{name}.pillow.png", np.asarray(Image.open(HERE / f"{name}.jpg").convert("RGB")))
    Image.fromarray(wide).convert("L").save(HERE / "grey.jpg", quality=90)
    save("grey.pillow.png", np.asarray(Image.open(HERE / "grey.jpg").convert("RGB")))
    Image.fromarray(wide).convert("CMYK").save(HERE / "cmyk.jpg", quality=90)

    # Mode conversions: palette, grey + alpha, 16 bits.
    Image.fromarray(wide).convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save(HERE / "palette.png")
    save("palette.pillow.png", np.asarray(Image.open(HERE / "palette.png").convert("RGB")))

    square = picture(32, 32)
    save("square.png", square)

    # WebP with and without loss, and a TIFF of two pages.
    Image.fromarray(wide).save(HERE / "lossy.webp", quality=90)
    save("lossy.pillow.png", np.asarray(Image.open(HERE / "lossy.webp").convert("RGB")))
    Image.fromarray(wide).save(HERE / "lossless.webp", lossless=True)
    pages = {"compression": "tiff_lzw", "save_all": True, "append_images": [Image.fromarray(square)]}
    Image.fromarray(wide).save(HERE / "pages.tif", **pages)
    degrees, scale, shift_x, shift_y = 27.0, 0.8, 0.05, -0.04
    centre = (32 - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), degrees, scale)
    matrix[:, 2] += [shift_x * 32, shift_y * 32]
    for name, flag in {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}.items():
        warped = cv2.warpAffine(square, matrix, (32, 32), flags=flag, borderMode=cv2.BORDER_REFLECT_101)
        save(f"square.warped.{name}.png", warped)
        # The order of the released code: upside down, mirrored, warped, turned.
        all_steps = cv2.flip(cv2.flip(square, 0), 1)
        all_steps = cv2.warpAffine(all_steps, matrix, (32, 32), flags=flag, borderMode=cv2.BORDER_REFLECT_101)
        save(f"square.all.{name}.png", np.ascontiguousarray(np.rot90(all_steps, 1)))
    save("square.turned.png", np.ascontiguousarray(np.rot90(cv2.flip(square, 1), 3)))

    light = {}
    for contrast, brightness in [(1.0, 0.15), (1.2, 0.0), (0.85, -0.1), (1.17, 0.19), (0.8, -0.2)]:
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        change = albumentations.RandomBrightnessContrast(
            brightness_limit=(brightness, brightness), contrast_limit=(contrast - 1, contrast - 1), p=1.0
        )
        light[f"{contrast},{brightness}"] = change(image=ramp)["image"][:, :, 0].reshape(-1).tolist()
    (HERE / "light.json").write_text(json.dumps(light))

    versions = {"pillow": PIL.__version__, "opencv": cv2.__version__, "albumentations": albumentations.__version__,
                "numpy": np.__version__}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
