from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gpu_rivals
from benchmarks.gpu_rivals import WrongAnswerError
from engine.clustering.rows_cuda import CudaRows

# numpy's scalars warn where machine integers wrap around.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply")


@pytest.mark.parametrize("name", ["step", "farthest", "assign"])
def test_a_wrong_answer_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(CudaRows, name)

    def off(self: CudaRows, *given: object) -> object:
        answer = right(self, *given)
        if name == "step":
            # The last digit of one sum.
            answer[0].sums[0, 0] = np.nextafter(answer[0].sums[0, 0], np.inf)
        elif name == "farthest":
            answer[0] += 1
        else:
            given[1][0] = 1 - min(given[1][0], 1)  # type: ignore[index]
        return answer

    monkeypatch.setattr(CudaRows, name, off)
    with pytest.raises(WrongAnswerError, match=name):
        gpu_rivals._lattice(np.random.default_rng(0), (24, 3), True, 1)


def test_right_answers() -> None:
    found = gpu_rivals._rounded(np.random.default_rng(1), (24, 9), False, "f8", 1)
    assert found["sums_off"] <= 1e-15
