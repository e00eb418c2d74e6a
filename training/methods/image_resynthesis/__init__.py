"""Image Resynthesis (Lis et al., ICCV 2019): what a new image of the predicted labels contradicts.

Published networks: `published.py`, `paper_pipeline.py`, `import_command.py`. Light ones, trained
here: `light_*.py`.
"""
