"""What `--train` says is read, checked and put in place of what was chosen."""

from dataclasses import replace
from pathlib import Path

import pytest

from pfir.compile.training.options import KEYS, TrainOptions, parse_train
from pfir.errors import UsageError
from pfir.passes.distillation.attach_teacher import DistillationSettings
from pfir.passes.distillation.features import AUTO_FEATURES
from pfir.train.feeding.mixing import Mixing
from pfir.train.settings import Settings

ELSE = (
    "mixup=0.2,cutmix=1.0,temperature=2.0,teacher_weight=0.5,label_weight=0.1,label_smoothing=0.2,target_weight=0.3,"
    "loss=huber,features=a:b,feature_weight=0.4"
)
ALL = (
    "lr=0.02,batch=64,accumulate=2,optimizer=adamw,schedule=step,milestones=0.3:0.6,factor=0.5,warmup=0.1,momentum=0.8,"
    "weight_decay=0.001,clip=none,ema=0.99,autocast=bfloat16,compile=never,augment=flip-crop"
)


def test_every_key_is_put_in_place_of_what_was_chosen():
    settings = parse_train(ALL).over(Settings(epochs=7))
    assert set(parse_train(f"{ALL},{ELSE}").values) == set(KEYS)
    assert settings == Settings(
        epochs=7,
        batch=64,
        accumulate=2,
        optimizer="adamw",
        learning_rate=0.02,
        schedule="step",
        milestones=(0.3, 0.6),
        factor=0.5,
        warmup_share=0.1,
        momentum=0.8,
        weight_decay=0.001,
        clip=None,
        ema=0.99,
        autocast="bfloat16",
        compile="never",
        augment="flip-crop",
    )


def test_losses_and_mixtures_have_keys_too():
    said = parse_train(ELSE)
    assert said.over(Mixing()) == Mixing(0.2, 1.0) and said.over(Settings()) == Settings()
    settings = said.over(DistillationSettings())
    assert settings == DistillationSettings(2.0, 0.5, 0.1, 0.2, False, 0.3, "huber", None, ("a", "b"), 0.4)
    assert parse_train("features=auto").over(settings).features == AUTO_FEATURES
    assert parse_train("features=none").over(settings).features == ()
    assert parse_train(said.text()) == said


def test_a_file_is_a_loss_of_ones_own_and_must_be_there(tmp_path):
    path = tmp_path / "loss.onnx"
    with pytest.raises(UsageError, match="there is no such file"):
        parse_train(f"loss={path}")
    path.touch()
    said = parse_train(f"loss={path}")
    assert said.own_loss == path and said.over(DistillationSettings()) == DistillationSettings()
    assert parse_train("loss=l1").own_loss is None


def test_what_is_not_said_stays():
    assert parse_train("lr=0.5").over(Settings(batch=3)) == Settings(batch=3, learning_rate=0.5)
    assert TrainOptions().over(Settings()) == Settings()
    assert parse_train("lr=0.5").over(DistillationSettings()) == DistillationSettings()


def test_what_a_recipe_decided_is_followed_where_nothing_else_is_said_and_not_told():
    decided = TrainOptions({"lr": 0.5}, {"compile": "never"})
    assert decided.over(Settings()) == Settings(learning_rate=0.5, compile="never") and decided.text() == "lr=0.5"
    assert replace(decided, values={"compile": "auto"}).over(Settings()) == Settings() and not decided.says("compile")


def test_its_text_says_the_same_again():
    assert parse_train(parse_train(ALL).text()) == parse_train(ALL) and TrainOptions().text() == ""


WRONG = {
    "help": "'help' is not known",
    "rate=1": "'rate=1' is not known",
    "": "'' is not known",
    "lr=0.1,": "'' is not known",
    "lr": "lr= must be a number above 0",
    "lr=fast": "lr=fast must be a number above 0",
    "lr=-1": "lr=-1 must be a number above 0 .learning_rate is -1.0",
    "lr=nan": "lr=nan must be a number above 0",
    "batch=2.5": "batch=2.5 must be a whole number",
    "optimizer=lion": "optimizer=lion must be sgd or adamw",
    "schedule=linear": "schedule=linear must be cosine or step or constant",
    "milestones=0.5:0.2": "milestones=0.5:0.2 must be shares of the training",
    "ema=1": "ema=1 must be a number between 0 and 1, or none",
    "augment=twirl": "augment=twirl must be none or flip-crop",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_known_is_refused_in_one_line_that_lists_what_is(text):
    with pytest.raises(UsageError, match=f"^--train {WRONG[text]}") as raised:
        parse_train(text)
    assert all(name in str(raised.value) for name in KEYS) and "\n" not in str(raised.value)


def test_a_name_is_given_once():
    with pytest.raises(UsageError, match="--train gives lr twice"):
        parse_train("lr=1,lr=2")


def test_the_page_names_every_key():
    page = (Path(__file__).resolve().parents[3] / "docs" / "command-line.md").read_text()
    said = page[page.index("- `--train`") : page.index("- `--metric`")]
    assert all(f"`{name}`" in said for name in KEYS)
