"""DICOM objects that hold a segmentation: written for the series that it was made of."""
