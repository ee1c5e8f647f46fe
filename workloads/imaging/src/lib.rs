//! From DICOM, PNG, JPEG, TIFF, BMP and NIfTI files to pixels and model input.
