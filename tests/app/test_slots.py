"""Workers side by side: what each of them gets of GPUs and cores."""

import pytest

from ichd.app.slots import Slot, seated
from ichd.domain.errors import UserError
from ichd.settings import ModelSettings, Settings


def seats(of: int, *, gpus: int, cores: int, **model: object) -> list[tuple[str, int | None]]:
    settings = Settings(model=ModelSettings.model_validate(model))
    slots = [Slot(number=number, of=of) for number in range(1, of + 1)]
    found = [seated(settings, slot, gpus=gpus, cores=cores).model for slot in slots]
    return [(one.device, one.threads) for one in found]


@pytest.mark.parametrize(
    ("of", "gpus", "cores", "model", "expected"),
    [
        (1, 4, 8, {}, [("auto", None)]),
        (2, 2, 8, {}, [("cuda:0", 4), ("cuda:1", 4)]),
        (3, 2, 8, {"device": "cuda"}, [("cuda:0", 2), ("cuda:1", 2), ("cuda:0", 2)]),
        (2, 1, 8, {}, [("auto", 4), ("auto", 4)]),
        (2, 0, 1, {}, [("auto", 1), ("auto", 1)]),
        (2, 4, 8, {"device": "cuda:3", "threads": 6}, [("cuda:3", 6), ("cuda:3", 6)]),
        (2, 4, 8, {"device": "cpu"}, [("cpu", 4), ("cpu", 4)]),
        # What no GPU has must still fall back to the processor.
        (2, 4, 8, {"engine": "openvino"}, [("auto", 4), ("auto", 4)]),
        (2, 4, 8, {"precision": "int8"}, [("auto", 4), ("auto", 4)]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own_where_there_are_several_and_its_share_of_cores(
    of: int, gpus: int, cores: int, model: dict[str, object], expected: list[tuple[str, int | None]]
) -> None:
    assert seats(of, gpus=gpus, cores=cores, **model) == expected


def test_names_and_places() -> None:
    assert Slot().name == "worker"
    assert Slot.parse("2/4") == Slot(number=2, of=4)
    assert (str(Slot.parse("2/4")), Slot.parse("2/4").name) == ("2/4", "worker-2")


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/2/3", "a/b", "1/2 "])
def test_what_is_no_slot(text: str) -> None:
    with pytest.raises(UserError, match="as in 2/4"):
        Slot.parse(text)
