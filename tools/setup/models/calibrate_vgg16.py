"""Measures how large VGG-16's activations become, for vgg16_int8.py. Only run when that model is changed.

usage: calibrate_vgg16.py MODEL.onnx SAMPLES OUT.json

Needs numpy, onnx, onnxruntime and pydicom. MODEL.onnx is the prepared `vgg16`; the images are pydicom's samples whose
pixels are not compressed, one frame each, stretched from their least to their greatest value. Patterns of full contrast
(checks, rings) drive some layers three times further; taking their ranges would cost tissue more than it gives them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pydicom

from vgg16 import convolution_names

EDGE = 224
MEAN = np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)


def resize(image: np.ndarray) -> np.ndarray:
    """Bilinear, to EDGE x EDGE."""
    for axis in (0, 1):
        size = image.shape[axis]
        places = np.clip((np.arange(EDGE) + 0.5) * size / EDGE - 0.5, 0, size - 1)
        low = places.astype(int)
        high = np.minimum(low + 1, size - 1)
        part = (places - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        image = image.take(low, axis) * (1 - part) + image.take(high, axis) * part
    return image


def sample_images(folder: Path):
    """Grey images with values from 0 to 255."""
    for path in sorted(folder.rglob("*")):
        try:
            dataset = pydicom.dcmread(path, force=True)
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                continue
            pixels = dataset.pixel_array.astype(np.float32)
        except Exception as error:  # many samples are damaged on purpose
            print(f"left out {path.name}: {type(error).__name__}", file=sys.stderr)
            continue
        while pixels.ndim > 2:
            pixels = pixels[..., 0] if pixels.shape[-1] == 3 else pixels[len(pixels) // 2]
        spread = pixels.max() - pixels.min()
        if spread > 0:
            yield resize((pixels - pixels.min()) * (255 / spread))


def main() -> None:
    """The command."""
    model_path, samples, out = map(Path, sys.argv[1:4])
    names = convolution_names()
    model = onnx.load(model_path)
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}_relu", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    greatest, images = np.zeros(len(names)), 0
    for image in sample_images(samples):
        tensor = (np.repeat(image[None], 3, 0) - MEAN)[None].astype(np.float32)
        outputs = session.run([f"{name}_relu" for name in names], {"image": tensor})
        greatest = np.maximum(greatest, [output.max() for output in outputs])
        images += 1
    # Three digits: the same on every machine, whatever the order in which it adds.
    ranges = {name: float(f"{value:.3g}") for name, value in zip(names, greatest, strict=True)}
    out.write_text(json.dumps({"images": images, "ranges": ranges}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
