"""DeepWV3Plus: DeepLabv3+ on WideResNet-38, and its observer.

Trunk: Z. Wu et al., Wider or Deeper (Pattern Recognition 2019), model A2; decoder: Y. Zhu et al.
(CVPR 2019); the observer after V. Besnier et al., Triggering Failures (ICCV 2021).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from training.networks.deep_v3plus_decoder import DeepV3PlusDecoder


class Block(nn.Module):
    """Pre-activated residual block.

    widths: two for two 3x3 convolutions, three for a bottleneck (1x1, 3x3, 1x1). dropout: of whole
    channels, before the bottleneck's last convolution.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        *,
        stride: int = 1,
        dilation: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        body: OrderedDict[str, nn.Module] = OrderedDict()
        if len(widths) == 2:
            body["conv1"] = _conv3x3(channels, widths[0], stride, dilation)
            body["bn2"] = _activation(widths[0])
            body["conv2"] = _conv3x3(widths[0], widths[1], 1, dilation)
        else:
            body["conv1"] = nn.Conv2d(channels, widths[0], 1, stride, bias=False)
            body["bn2"] = _activation(widths[0])
            body["conv2"] = _conv3x3(widths[0], widths[1], 1, dilation)
            body["bn3"] = _activation(widths[1])
            body["dropout"] = nn.Dropout2d(dropout)
            body["conv3"] = nn.Conv2d(widths[1], widths[2], 1, bias=False)
        self.bn1 = _activation(channels)
        self.convs = nn.Sequential(body)
        self.proj_conv: nn.Conv2d | None = None
        if stride != 1 or channels != widths[-1]:
            self.proj_conv = nn.Conv2d(channels, widths[-1], 1, stride, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        active = self.bn1(values)
        shortcut = values if self.proj_conv is None else self.proj_conv(active)
        return self.convs(active) + shortcut


def _conv3x3(channels: int, out: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _activation(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _module(*blocks: Block) -> nn.Sequential:
    return nn.Sequential(OrderedDict((f"block{i}", b) for i, b in enumerate(blocks, start=1)))


class DeepWideStages(DeepV3PlusDecoder):
    """Trunk and decoder; DeepWV3Plus and its observer differ in outputs and in what they add."""

    taps: ClassVar[tuple[str, ...]] = ("mod2", "mod5", "aspp", "fine", "decoder")

    def __init__(self, outputs: int) -> None:
        super().__init__(fine=128, deep=4096, outputs=outputs)
        self.mod1 = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 64, 3, padding=1, bias=False)))
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mod2 = _module(Block(64, (128, 128)), *(Block(128, (128, 128)) for _ in range(2)))
        self.pool3 = nn.MaxPool2d(3, stride=2, padding=1)
        self.mod3 = _module(Block(128, (256, 256)), *(Block(256, (256, 256)) for _ in range(2)))
        self.mod4 = _module(
            Block(256, (512, 512), stride=2), *(Block(512, (512, 512)) for _ in range(5))
        )
        self.mod5 = _module(
            Block(512, (512, 1024), dilation=2),
            *(Block(1024, (512, 1024), dilation=2) for _ in range(2)),
        )
        self.mod6 = _module(Block(1024, (512, 1024, 2048), dilation=4, dropout=0.3))
        self.mod7 = _module(Block(2048, (1024, 2048, 4096), dilation=4, dropout=0.5))

    def walk(self, image: Tensor, added: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        """Result [N, outputs, H, W] and the five taps; `added` is added to each in passing.

        image: normalised float32 [N, 3, H, W]. mod2, fine and decoder come at stride 2 with 128, 48
        and 304 channels; mod5 and aspp at stride 8 with 1024 and 1280.
        """
        taps: list[Tensor] = []

        def tap(values: Tensor) -> Tensor:
            taps.append(values + added[len(taps)] if added else values)
            return taps[-1]

        fine = tap(self.mod2(self.pool2(self.mod1(image))))
        deep = tap(self.mod5(self.mod4(self.mod3(self.pool3(fine)))))
        result = self.decode(fine, self.mod7(self.mod6(deep)), image.shape[-2:], tap)
        return result, *taps


class DeepWV3Plus(DeepWideStages):
    """Image normalised float32 [N, 3, H, W] -> logits [N, C, H, W] and the five `taps`."""

    def __init__(self, classes: int = 19) -> None:
        super().__init__(classes)
        self.classes = classes

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits, mod2, mod5, aspp, fine, decoder: sizes see `walk`."""
        return self.walk(image)


class DeepWV3PlusObserver(DeepWideStages):
    """A second DeepWV3Plus that adds the first one's taps at the places they were taken."""

    reads: ClassVar[tuple[str, ...]] = ("image", *DeepWideStages.taps)

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, image: Tensor, *taps: Tensor) -> Tensor:
        """Normalised image [N, 3, H, W] and the five taps -> logit [N, 1, H, W]."""
        return self.walk(image, added=taps)[0]
