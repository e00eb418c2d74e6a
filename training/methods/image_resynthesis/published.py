"""What Image Resynthesis' published networks were trained on, and which of them make a pipeline.

The segmentation networks saw BDD100K; the generator and the discrepancy networks saw Cityscapes at
half its size, the latter with half of its objects' labels swapped.
"""

from __future__ import annotations

from training.methods.obsnet.published import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_TRAIN,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Trained,
)

BDD100K = Trained(
    "BDD100K",
    (720, 1280),  # whole images; training saw crops of 384x768
    IMAGENET_MEAN,
    IMAGENET_STD,
    CITYSCAPES_CLASSES,
    ("road",),
    "BDD100K terms: research and education",
)
SWAPPED_CITYSCAPES = CITYSCAPES_TRAIN  # normalisation and the default size of pipelines are its

# Names in training.weights.
SEGMENTATIONS = {
    "pspnet": "image_resynthesis/pspnet_bdd_0121",
    "bayes_segnet": "image_resynthesis/bayes_segnet_bdd_0120",
}
GENERATOR = "image_resynthesis/pix2pixhd_generator_0405"
DISCREPANCIES = {
    "full": "image_resynthesis/discrepancy_full_0521",
    "labels_only": "image_resynthesis/discrepancy_labels_only_0517",
    "generated_only": "image_resynthesis/discrepancy_gen_only_0516",
}
