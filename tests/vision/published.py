"""The published architecture in plain PyTorch, read off paper.md and the checkpoint's keys; shares no code with ichd.

Keys are the checkpoint's: layer0.conv1, layer0.bn1, layer1..4, decoder.recurrent.*, decoder.fc.*.
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

#: The published SE-ResNeXt pools its stem without padding, rounding up; ResNet pads by one, and so does timm's newer
#: SE-ResNeXt. On even sizes the two look at other pixels, so weights belong to one of them.
Stem = Literal["padded", "ceil"]


class Squeeze(nn.Module):
    """Squeeze-and-excitation with reduction 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))
        return x * gate


class Bottleneck(nn.Module):
    """1x1, 3x3 (carries the stride), 1x1; expansion 4."""

    def __init__(self, inputs: int, planes: int, stride: int, *, groups: int, squeeze: bool) -> None:
        super().__init__()
        width = planes * 2 if groups == 32 else planes  # 32 groups of 4 channels at 64 planes
        outputs = planes * 4
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        if squeeze:
            self.se_module = Squeeze(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if hasattr(self, "se_module"):
            y = self.se_module(y)
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class PublishedModel(nn.Module):
    """Windows [S, 3, H, W] of one scan to logits [S, 6]."""

    def __init__(self, *, groups: int, squeeze: bool, stem: Stem) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            OrderedDict(conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), bn1=nn.BatchNorm2d(64))
        )
        self.stem_pool = (
            nn.MaxPool2d(3, stride=2, padding=1) if stem == "padded" else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        )
        inputs = 64
        for stage, (planes, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            layers = []
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 1 else 1
                layers.append(Bottleneck(inputs, planes, stride, groups=groups, squeeze=squeeze))
                inputs = planes * 4
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.decoder = nn.ModuleDict(
            {
                "recurrent": nn.LSTM(2048, 512, num_layers=2, bidirectional=True, batch_first=True),
                "fc": nn.Linear(1024, 6),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_pool(torch.relu(self.layer0(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        states, _ = self.decoder["recurrent"](x.mean(dim=(2, 3)).unsqueeze(0))
        logits: Tensor = self.decoder["fc"](states.squeeze(0))
        return logits
