"""Image Resynthesis (Lis et al., ICCV 2019): what a new image of the predicted labels contradicts.

Networks of the paper's size: `published.py`, `paper_pipeline.py` and `import_command.py`, and their
training in `parts.py`, `plateau.py` and `*_training.py`. Light ones, trained here: `light_*.py`.
Their rival, the road autoencoder: `road_*.py`.
"""
