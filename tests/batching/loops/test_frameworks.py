"""The recipes of torchdata, Lightning, transformers and accelerate resume at the next batch."""

from importlib.util import find_spec

import pytest

from tests.batching.loops.recipes import BASE, folder, recipe, resumes, run

GROUP = ("torchdata", "lightning", "transformers", "accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_spec, GROUP)), reason="the packages of the group `loops` are not installed"
    ),
]
__all__ = ["folder"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_stateful_dataloader_resumes_at_the_next_batch(folder, workers):
    resumes(folder, recipe("stateful.pt", num_workers=workers))


@pytest.mark.parametrize("ranks", [1, 2])
def test_lightning_resumes_at_the_next_batch(folder, ranks):
    devices = f'1, accelerator="cpu", devices={ranks}, strategy="{"ddp" if ranks > 1 else "auto"}"'
    resumes(folder, recipe("import lightning", max_epochs=devices), ranks, launched=1)


@pytest.mark.parametrize("ranks", [1, 2])
def test_hugging_face_s_trainer_resumes_at_the_next_batch(folder, ranks):
    on_cpu = "True, use_cpu=True" + (", ddp_backend='gloo'" if ranks > 1 else "")
    resumes(folder, recipe("from transformers", ignore_data_skip=on_cpu), ranks)


LOSS = """
from transformers import GPT2Config, GPT2LMHeadModel
model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=32)).eval()
x, y = train.get_batch()
wanted = loss_of(x, y, lambda x: model(x).logits)
torch.testing.assert_close(model(x, labels=y, shift_labels=y).loss, wanted)
assert abs(model(x, labels=y).loss - wanted) > 1e-4
"""


def test_hugging_face_s_models_take_labels_that_are_shifted(folder):
    run(folder, BASE + LOSS)


def test_ranks_of_accelerate_resume_at_the_next_batch(folder):
    resumes(folder, recipe("from accelerate"), ranks=2)


PREPARED = """
from accelerate import Accelerator
from torch.utils.data import DataLoader
accelerator = Accelerator(cpu=True)
for rows in (None, 1):
    try:
        next(iter(accelerator.prepare(DataLoader(train, batch_size=rows))))
    except ValueError as error:
        Path(f"refused.{accelerator.process_index}.{rows}").write_text(str(error))
"""


def test_a_dataloader_that_accelerate_prepared_is_refused_on_every_rank(folder):
    run(folder, BASE + PREPARED, launched=2)
    refused = [path.read_text() for path in folder.glob("refused.*")]
    assert len(refused) == 4 and len(set(refused)) == 1
    assert "prepare the model and the optimizer alone" in refused[0]
