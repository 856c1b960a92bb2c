"""Writes the DICOM objects beside this file, with pydicom.

    python generate.py

`versions.json` says which release it was. Pixels follow from a formula that the tests repeat, the JPEG is that of the
reference images.
"""

import json
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

HERE = Path(__file__).parent
PHOTOGRAPHY = "1.2.840.10008.5.1.4.1.1.77.1.4"


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def picture(colour: str, samples: int, width: int, height: int) -> Dataset:
    """An object without pixels, with sequences within sequences before them."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = PHOTOGRAPHY, "1.2.3.4", "XC"
    data.SamplesPerPixel, data.PhotometricInterpretation = samples, colour
    data.Rows, data.Columns = height, width
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    if samples == 3:
        data.PlanarConfiguration = 0
    inner = code("1", "inner")
    inner.ModifierCodeSequence = Sequence([code("2", "innermost")])
    data.AcquisitionContextSequence = Sequence([inner, code("3", "another")])
    data.add_new(0x00090010, "LO", "PRIVATE")
    data.add_new(0x00091001, "UN", b"\x01\x02\x03\x04")
    return data


def save(name: str, data: Dataset, syntax: str) -> None:
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = PHOTOGRAPHY, "1.2.3.4"
    data.file_meta.TransferSyntaxUID = syntax
    for sequence in (element for element in data.iterall() if element.VR == "SQ"):
        sequence.is_undefined_length = True
        for item in sequence.value:
            item.is_undefined_length_sequence_item = True
    data.save_as(HERE / name, enforce_file_format=True)


def formula(length: int) -> bytes:
    return bytes(at * 37 % 251 for at in range(length))


def main() -> None:
    rgb = picture("RGB", 3, 5, 4)
    rgb.SpecificCharacterSet = "ISO_IR 192"
    rgb.AnatomicRegionSequence = Sequence([code("123", "Haut über dem Rücken"), code("124", "not this")])
    rgb.PatientAge, rgb.PatientSex, rgb.BodyPartExamined = "045Y", "F", "SKIN"
    rgb.PixelData = formula(60)
    save("rgb.dcm", rgb, ExplicitVRLittleEndian)
    rgb.PlanarConfiguration, rgb.NumberOfFrames = 1, 1
    rgb["PixelData"].VR = "OW"
    save("planes_implicit.dcm", rgb, ImplicitVRLittleEndian)

    grey = picture("MONOCHROME1", 1, 4, 3)
    grey.SpecificCharacterSet = "ISO_IR 144"
    grey.AnatomicRegionSequence = Sequence([code("123", "Кожа спины")])
    grey.PatientAge = "018M"
    grey.PixelData = formula(12)
    save("grey_inverted.dcm", grey, ExplicitVRLittleEndian)

    jpeg = (HERE.parent / "images" / "subsampled.jpg").read_bytes()
    ybr = picture("YBR_FULL_422", 3, 66, 45)
    ybr.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ybr.AnatomicRegionSequence = Sequence([code("123", "背中")])
    ybr.PatientSex, ybr.BodyPartExamined = "M", "SKIN"
    ybr.PixelData = encapsulate([jpeg], fragments_per_frame=3)
    ybr["PixelData"].is_undefined_length = True
    save("jpeg.dcm", ybr, JPEGBaseline8Bit)

    (HERE / "versions.json").write_text(json.dumps({"pydicom": pydicom.__version__}, indent=2) + "\n")


if __name__ == "__main__":
    main()
