#!/usr/bin/env python3
"""Prints what pydicom with its plugins decodes from the sample files, one line a frame.

    python3 -m venv venv
    venv/bin/pip install pydicom==3.0.2 pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle pyjpegls
    venv/bin/python make_digests.py SAMPLES > digests.tsv

Columns, separated by tabs: file, frame, shape, dtype, photometric interpretation as decoded, kind, value.
Kind `exact` has the SHA-256 of the values as little-endian signed 64-bit integers (floats: 64-bit floats), after the
file's palette, before modality LUT and window. Kind `mean` has mean and standard deviation of the values, for lossy
syntaxes and for colour that was converted from YBR, where decoders may differ in rounding. Kind `refused` has the
error of pydicom.
"""

import hashlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, iter_pixels

LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.55",
    "1.2.840.10008.1.2.4.91",
}
MOST_FRAMES = 4


def stored_bits(frame, dataset):
    """Removes bits outside Bits Stored, which pydicom leaves in uncompressed data."""
    bits, high = dataset.get("BitsStored"), dataset.get("HighBit")
    if frame.dtype.kind == "f" or bits is None or dataset.file_meta.get("TransferSyntaxUID", "") in LOSSY:
        return frame
    if high is None or high + 1 != bits or bits == dataset.BitsAllocated:
        return frame
    unused = 64 - bits
    wide = frame.astype("<i8") << unused
    if dataset.PixelRepresentation == 1:
        return wide >> unused
    return (wide.astype("<u8") >> np.uint64(unused)).astype("<i8")


def swap_palettes(dataset):
    """Brings plain palettes of big endian files to little endian, which pydicom takes them for."""
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTableData"
        if name not in dataset:
            continue
        words = np.frombuffer(getattr(dataset, name), dtype=">u2")
        setattr(dataset, name, words.astype("<u2").tobytes())


def describe(frame, dataset, converted):
    if frame.dtype.kind == "f":
        wide = frame.astype("<f8")
    else:
        wide = frame.astype("<i8")
    if converted or dataset.file_meta.get("TransferSyntaxUID", "") in LOSSY:
        return "mean", f"{wide.mean():.4f} {wide.std():.4f}"
    return "exact", hashlib.sha256(np.ascontiguousarray(wide).tobytes()).hexdigest()


def frames_of(path):
    dataset = pydicom.dcmread(path, force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        explicit = not dataset.original_encoding[0]
        little = dataset.original_encoding[1]
        dataset.file_meta.TransferSyntaxUID = (
            "1.2.840.10008.1.2" if not explicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
        )
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return
    photometric = dataset.get("PhotometricInterpretation", "")
    converted = photometric.startswith("YBR_FULL")
    if getattr(dataset, "NumberOfFrames", 1) and int(dataset.get("NumberOfFrames") or 1) > 1:
        frames = iter_pixels(dataset)
    else:
        frames = [dataset.pixel_array]
    for index, frame in enumerate(frames):
        if index >= MOST_FRAMES:
            break
        if photometric == "PALETTE COLOR":
            if index == 0 and not dataset.original_encoding[1]:
                swap_palettes(dataset)
            frame = apply_color_lut(frame, dataset)
            if frame.dtype.itemsize == 2:
                frame = frame >> 8
        else:
            frame = stored_bits(frame, dataset)
            if frame.ndim == 3 and frame.dtype.itemsize == 4:
                frame = frame >> 16
        kind, value = describe(frame, dataset, converted)
        yield index, "x".join(map(str, frame.shape)), photometric, kind, value


def main():
    root = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if name.endswith((".txt", ".json", ".dump", ".icc", ".gz", ".py", ".pyc", ".md")) or path.name.startswith("."):
            continue
        try:
            for index, shape, photometric, kind, value in frames_of(path):
                print(name, index, shape, photometric, kind, value, sep="\t")
        except Exception as error:  # the oracle's own refusal is part of its answer
            reason = " ".join(str(error).split())[:100]
            print(name, "-", "-", "-", "refused", f"{type(error).__name__}: {reason}", sep="\t")


main()
