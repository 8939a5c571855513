"""The folder that ``nnUNet_extTrainer`` names: it makes autoseg's trainers known to stock nnU-Net."""
