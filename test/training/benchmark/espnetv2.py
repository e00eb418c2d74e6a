"""A published segmentation network as a reference for benchmark tests, and scores drawn from it.

ESPNetv2 (Mehta et al., CVPR 2019) in the segmentation form of the EdgeNets checkpoints (MIT): an
encoder of EESP blocks down to 1/16, a decoder that climbs back to 1/2, logits at full resolution.
"""

from __future__ import annotations

import math
import os
import re
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from anomaly_seg_ros.errors import AnomalySegError

DEFAULT_ROOT = Path(__file__).resolve().parents[3].parent / "shared"
ROOT = Path(os.environ.get("ANOMALY_SEG_SHARED") or DEFAULT_ROOT)
WEIGHTS = ROOT / "data" / "weights" / "edgenets" / "espnetv2_s_2.0_city_1024x512.pth"

WIDTHS = (32, 128, 256, 512)  # channels at 1/2, 1/4, 1/8, 1/16 for scale 2.0
OUTPUTS = 20  # the 19 Cityscapes train ids, then background
CLASSES = 19
BRANCHES = 4
DILATIONS = (1, 2, 3, 4)
DILATIONS_AT_16 = (1, 1, 2, 3)  # the receptive field is limited to 7 there
DECODER_WIDTHS = (64, 48, 32)  # after the decoder's steps at 1/16, 1/8, 1/4
POOLED_WIDTH = 10  # channels inside the pyramid poolings
POOLED_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
LEAST_POOLED = 5  # rows and columns

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet
STD = np.array([0.229, 0.224, 0.225], np.float32)
SCORES = ("max_softmax", "entropy", "max_logit")
SIZES = {16 / 9: (1024, 576), 2.0: (1024, 512)}  # columns / rows -> (columns, rows) of the network

# Names of the checkpoint -> ours, applied in turn. In the encoder they call the parts of a unit
# conv, bn and act; ours, like those of their decoder, are numbered.
RENAMED = (
    (r"^base_net\.", ""),
    (r"spp_dw\.(\d)\.conv\.", r"branches.\1."),
    (r"br_after_cat\.bn\.", "fused.0."),
    (r"br_after_cat\.act\.", "fused.1."),
    (r"(level1|proj_1x1|inp_reinf\.0)\.act\.", r"\1.2."),
    (r"\.conv\.", ".0."),
    (r"\.bn\.", ".1."),
    (r"\.c?br\.(?=\d)", "."),
    (r"module_act", "act"),
)
NEVER_RUN = re.compile(r"_0\.eesp\.act\.")  # blocks of stride 2 leave the activation to their owner


class EspNetError(AnomalySegError):
    """Weights that are not there, or a call that the reference network does not answer."""


def unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, batch norm and, unless told otherwise, PReLU; the size kept up to the stride."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.PReLU(outputs)) if act else nn.Sequential(*layers)


def norm(width: int) -> nn.Sequential:
    """Batch norm and PReLU."""
    return nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width))


def halved(image: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]; the zeros around the border count."""
    return functional.avg_pool2d(image, kernel_size=3, stride=2, padding=1)


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with the corners aligned, as everywhere in this network."""
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=True)


def height_and_width(image: Tensor) -> tuple[int, int]:
    """Of [N, C, H, W]."""
    return image.shape[2], image.shape[3]


class PyramidBlock(nn.Module):
    """EESP unit: project, depthwise convolutions of growing dilation, sum up, mix.

    [N, inputs, H, W] -> [N, outputs, H, W]; stride 2 halves and returns without activation.
    """

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.stride = stride
        width = outputs // BRANCHES
        self.proj_1x1 = unit(inputs, width, 1, groups=BRANCHES)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride, padding=d, dilation=d, groups=width, bias=False)
            for d in dilations
        )
        self.fused = norm(outputs)
        self.conv_1x1_exp = unit(outputs, outputs, 1, groups=BRANCHES, act=False)
        if stride == 1:
            self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        projected = self.proj_1x1(x)
        sums = list(accumulate(branch(projected) for branch in self.branches))
        mixed = self.conv_1x1_exp(self.fused(torch.cat(sums, dim=1)))
        return mixed if self.stride == 2 else self.act(mixed + x)


class Halving(nn.Module):
    """Strided EESP unit: pooled input beside new channels, plus the shrunken image.

    [N, inputs, H, W] and the image [N, 3, H/2, W/2] -> [N, outputs, H/2, W/2].
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.eesp = PyramidBlock(inputs, outputs - inputs, DILATIONS, stride=2)
        self.inp_reinf = nn.Sequential(unit(3, 3, 3), unit(3, outputs, 1, act=False))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return self.act(torch.cat([halved(x), self.eesp(x)], dim=1) + self.inp_reinf(image))


class PyramidPooling(nn.Module):
    """Depthwise convolutions at five scales, merged: [N, inputs, H, W] -> [N, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, last: bool = False) -> None:
        super().__init__()
        width, scales = POOLED_WIDTH, len(POOLED_SCALES)
        self.projection_layer = unit(inputs, width, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False) for _ in POOLED_SCALES
        )
        self.merge_layer = nn.Sequential(
            norm(width * scales),
            nn.ChannelShuffle(scales),  # brings the scales of one channel together
            unit(width * scales, width, 3, groups=width),
            nn.Conv2d(width, outputs, 1, bias=last),
        )
        self.br = nn.Identity() if last else norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        rows, columns = size = height_and_width(x)
        seen = []
        for scale, conv in zip(POOLED_SCALES, self.stages, strict=True):
            scaled = (
                max(math.ceil(rows * scale), LEAST_POOLED),
                max(math.ceil(columns * scale), LEAST_POOLED),
            )
            if scale > 1:
                seen.append(functional.adaptive_avg_pool2d(conv(resized(x, scaled)), size))
            elif scale < 1:
                seen.append(resized(conv(functional.adaptive_avg_pool2d(x, scaled)), size))
            else:
                seen.append(conv(x))
        return self.br(self.merge_layer(torch.cat(seen, dim=1)))


class Bridge(nn.Module):
    """Encoder features for the decoder: a grouped convolution, weighted by the image's mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid()
        )
        self.expansion_layer = unit(inputs, outputs, 3, groups=math.gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.expansion_layer(x) * self.wt_layer(x)


class EspNetV2(nn.Module):
    """Normalised RGB float32 [N, 3, H, W], H and W multiples of 16 -> logits [N, 20, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = WIDTHS
        self.level1 = unit(3, half, 3, stride=2)
        self.level2_0 = Halving(half, quarter)
        self.level3_0 = Halving(quarter, eighth)
        self.level3 = nn.Sequential(
            *(PyramidBlock(eighth, eighth, DILATIONS, stride=1) for _ in range(3))
        )
        self.level4_0 = Halving(eighth, sixteenth)
        self.level4 = nn.Sequential(
            *(PyramidBlock(sixteenth, sixteenth, DILATIONS_AT_16, stride=1) for _ in range(7))
        )
        first, second, third = DECODER_WIDTHS
        self.bu_dec_l1 = PyramidPooling(sixteenth, first)
        self.merge_enc_dec_l2, self.bu_br_l2 = Bridge(eighth, first), norm(first)
        self.bu_dec_l2 = PyramidPooling(first, second)
        self.merge_enc_dec_l3, self.bu_br_l3 = Bridge(quarter, second), norm(second)
        self.bu_dec_l3 = PyramidPooling(second, third)
        self.merge_enc_dec_l4, self.bu_br_l4 = Bridge(half, third), norm(third)
        self.bu_dec_l4 = PyramidPooling(third, OUTPUTS, last=True)

    def forward(self, image: Tensor) -> Tensor:
        image_4 = halved(halved(image))
        image_8 = halved(image_4)
        image_16 = halved(image_8)
        half = self.level1(image)
        quarter = self.level2_0(half, image_4)
        eighth = self.level3(self.level3_0(quarter, image_8))
        sixteenth = self.level4(self.level4_0(eighth, image_16))

        x = self.bu_dec_l1(sixteenth)
        for skipped, bridge, fused, decode in (
            (eighth, self.merge_enc_dec_l2, self.bu_br_l2, self.bu_dec_l2),
            (quarter, self.merge_enc_dec_l3, self.bu_br_l3, self.bu_dec_l3),
            (half, self.merge_enc_dec_l4, self.bu_br_l4, self.bu_dec_l4),
        ):
            x = decode(fused(bridge(skipped) + resized(x, height_and_width(skipped))))
        return resized(x, height_and_width(image))


def published_network(path: Path = WEIGHTS) -> EspNetV2:
    """The network with the weights of a checkpoint of scale 2.0 for Cityscapes, ready to run.

    Every key of the checkpoint is renamed by RENAMED and loaded strictly, but for the three
    activations that the original network holds and never runs. Raises EspNetError when the file is
    absent.
    """
    if not path.is_file():
        raise EspNetError(
            f"no weights at {path}: expected the EdgeNets checkpoint espnetv2_s_2.0_city_1024x512; "
            "set ANOMALY_SEG_SHARED to the folder that holds data/weights"
        )
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    state = {our_key(key): value for key, value in checkpoint.items()}
    network = EspNetV2()
    network.load_state_dict({k: v for k, v in state.items() if not NEVER_RUN.search(k)})
    return network.eval()


def our_key(key: str) -> str:
    """The name of a checkpoint's tensor in EspNetV2."""
    for pattern, name in RENAMED:
        key = re.sub(pattern, name, key)
    return key


class EspNetScores:
    """Anomaly scores from the published network's softmax over the 19 Cityscapes classes.

    max_softmax: 1 - max p. entropy: H(p) / ln 19. max_logit: (30 - max logit) / 60. All but the
    last lie in 0..1 by their nature; it does for logits in -30..30.
    """

    def __init__(self, score: str) -> None:
        if score not in SCORES:
            raise EspNetError(f"score {score!r}: expected one of {', '.join(SCORES)}")
        self.score = score
        self.network = published_network()

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [H, W, 3] RGB -> score float32 [H, W] and train ids uint8 [H, W].

        The network sees the image at 1024x576 (16:9) or 1024x512 (2:1), by Pillow bilinear; of
        another size, the answers are brought back, bilinear and nearest. Raises EspNetError for
        other shapes of images.
        """
        rows, columns = image.shape[:2]
        size = network_size(rows, columns)
        seen = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        pixels = (np.asarray(seen, np.float32) / 255 - MEAN) / STD
        logits = self.network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0, :CLASSES]
        score = score_of(logits, self.score).numpy()
        labels = logits.argmax(dim=0).byte().numpy()
        if size != (columns, rows):
            score = cv2.resize(score, (columns, rows), interpolation=cv2.INTER_LINEAR)
            labels = cv2.resize(labels, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
        return score, labels


def score_of(logits: Tensor, score: str) -> Tensor:
    """float32 [19, H, W] -> float32 [H, W] by the formulas of EspNetScores."""
    if score == "max_logit":
        return (30 - logits.amax(dim=0)) / 60
    p = logits.softmax(dim=0)
    if score == "max_softmax":
        return 1 - p.amax(dim=0)
    return torch.special.entr(p).sum(dim=0) / math.log(CLASSES)


def network_size(rows: int, columns: int) -> tuple[int, int]:
    """(columns, rows) that an image is shown at; its sides may be rounded by a pixel."""
    for ratio, size in SIZES.items():
        if abs(columns - ratio * rows) <= 1:
            return size
    raise EspNetError(f"an image of {columns}x{rows}: expected 16:9 or 2:1")


def max_softmax() -> EspNetScores:
    """As a contender: `--python espnetv2:max_softmax`."""
    return EspNetScores("max_softmax")


def entropy() -> EspNetScores:
    """As a contender: `--python espnetv2:entropy`."""
    return EspNetScores("entropy")


def max_logit() -> EspNetScores:
    """As a contender: `--python espnetv2:max_logit`."""
    return EspNetScores("max_logit")
