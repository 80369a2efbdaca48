"""The chassis that every process is made of. It knows no modality."""
