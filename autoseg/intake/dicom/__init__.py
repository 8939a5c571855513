"""DICOM series as cases: which series make one, what it is called, and which labels it has."""
