"""What others measured on CQ500: AUC a scan of Table 2 of Nguyen et al., MIDL 2020, published without intervals.

Source: N. T. Nguyen, D. Q. Tran, N. T. Nguyen, H. Q. Nguyen, A CNN-LSTM Architecture for Detection of Intracranial
Hemorrhage on CT scans, MIDL 2020, Table 2. Qure.ai's column there stands for Chilamkurthy et al., Lancet 392 (2018)
2388, whose predictions are part of the data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedAuc:
    """One column of the table."""

    #: For the head of a column.
    name: str
    #: By class name.
    auc: Mapping[str, float]


QURE = PublishedAuc(
    name="Qure.ai",
    auc={
        "any": 0.9419,
        "intraparenchymal": 0.9544,
        "intraventricular": 0.9310,
        "subarachnoid": 0.9574,
        "subdural": 0.9521,
        "epidural": 0.9731,
    },
)
RESNET50 = PublishedAuc(
    name="ResNet-50",
    auc={
        "any": 0.9597,
        "intraparenchymal": 0.9616,
        "intraventricular": 0.9901,
        "subarachnoid": 0.9662,
        "subdural": 0.9654,
        "epidural": 0.9740,
    },
)
SE_RESNEXT50 = PublishedAuc(
    name="SE-ResNeXt-50",
    auc={
        "any": 0.9613,
        "intraparenchymal": 0.9674,
        "intraventricular": 0.9858,
        "subarachnoid": 0.9696,
        "subdural": 0.9644,
        "epidural": 0.9731,
    },
)

#: In the order of the paper.
PUBLISHED: tuple[PublishedAuc, ...] = (QURE, RESNET50, SE_RESNEXT50)
