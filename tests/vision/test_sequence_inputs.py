"""What a sequence model may see beside embeddings: differences to the neighbours, and how far they are."""

import json

import pytest
import torch
from torch import Tensor

from ichd.vision.engines.sequence import gaps
from ichd.vision.manifest import NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm, SequenceDecoder

FEATURES = 5


def decoder(**asked: object) -> SequenceDecoder:
    torch.manual_seed(2)
    spec = RecurrentSpec.model_validate({"layers": 2, "hidden": 7, **asked})
    return SequenceDecoder(FEATURES, spec, 6).eval()


def seen(by: SequenceDecoder, embeddings: Tensor, gap_mm: Tensor | None = None) -> Tensor:
    """What the recurrent part is given, [S, F']."""
    given: list[Tensor] = []
    by.recurrent.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    by(embeddings[None], None, None if gap_mm is None else gap_mm[None])
    return given[0][0]


def test_deltas_are_what_a_slice_differs_by_from_the_one_below_and_the_one_above() -> None:
    embeddings = torch.randn(4, FEATURES)
    given = seen(decoder(deltas=True), embeddings)
    for index in range(4):
        below = embeddings[index] - embeddings[index - 1] if index else torch.zeros(FEATURES)
        above = embeddings[index] - embeddings[index + 1] if index < 3 else torch.zeros(FEATURES)
        torch.testing.assert_close(given[index], torch.cat([embeddings[index], below, above]))


def test_gaps_are_counted_in_steps_of_five_millimetres() -> None:
    given = seen(decoder(z_gap=True), torch.randn(4, FEATURES), torch.tensor([0.0, 5.0, 2.5, 400.0]))
    assert given[:, -1].tolist() == [0.0, 1.0, 0.5, 4.0]


@pytest.mark.parametrize(
    "asked", [{}, {"deltas": True}, {"z_gap": True}, {"cell": "gru", "deltas": True, "z_gap": True}]
)
def test_a_scan_among_others_is_read_as_alone(asked: dict[str, object]) -> None:
    by, lengths = decoder(**asked), [6, 2, 1]
    embeddings, gap = torch.randn(3, 6, FEATURES), torch.rand(3, 6) * 8
    with torch.inference_mode():
        together = by(embeddings, torch.tensor(lengths), gap)
        for scan, length in enumerate(lengths):
            alone = by(embeddings[scan : scan + 1, :length], None, gap[scan : scan + 1, :length])
            torch.testing.assert_close(together[scan, :length], alone[0])


def test_a_network_that_reads_gaps_does_without_none() -> None:
    with pytest.raises(ValueError, match="give gap_mm"):
        decoder(z_gap=True)(torch.randn(1, 3, FEATURES))


def test_gaps_of_positions() -> None:
    assert gaps([3.0, 5.5, 15.5], 3).tolist() == [0.0, 2.5, 10.0]
    assert gaps(None, 3).tolist() == [0.0, 5.0, 5.0]


def test_keys_that_came_later_are_written_only_where_they_say_something() -> None:
    """Reports are bound to the hash of the manifest: an older bundle must keep it."""
    plain = NetworkSpec(backbone="resnet10t")
    assert set(json.loads(plain.model_dump_json())["recurrent"]) == {"layers", "hidden", "bidirectional", "dropout"}
    more = NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(deltas=True, cell="gru"))
    said = json.loads(more.model_dump_json())["recurrent"]
    assert (said["deltas"], said["cell"]) == (True, "gru")
    assert "z_gap" not in said
    assert NetworkSpec.model_validate_json(more.model_dump_json()) == more


def test_a_gap_changes_the_answer_of_a_network_that_reads_it() -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(layers=1, hidden=8, z_gap=True))
    network = CnnLstm(spec).eval()
    embeddings = torch.randn(4, network.features_out)
    with torch.inference_mode():
        near, far = (
            network.classify(embeddings, gap_mm=gaps([place * step_mm for place in range(4)], 4))
            for step_mm in (2.5, 10.0)
        )
    assert (near - far).abs().max() > 1e-6
