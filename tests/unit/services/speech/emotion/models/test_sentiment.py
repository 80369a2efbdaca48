import pickle

import pytest

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.models.catalogue import model
from services.speech.emotion.models import hownet, vader
from services.speech.settings import SpeechSettings

LISTS = {
    "pos": ["高兴", "满意 ", "上"],
    "neg": ["问题", "难过", "下"],
    "deny": ["不", "没有"],
    "extreme": ["非常"],
    "very": ["很"],
    "more": ["更"],
    "ish": ["有点"],
}


@pytest.fixture
def lexicon(tmp_path):
    folder = tmp_path / "models" / "hownet-zh"
    folder.mkdir(parents=True)
    for name, words in LISTS.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(words))
    return folder


@pytest.fixture
def chinese(lexicon, tmp_path):
    return hownet.load(model("hownet-zh"), SpeechSettings(home=tmp_path))


def score(reader, text):
    (found,) = reader.run([reader.prepare(text)], CancellationToken())
    assert -1 <= found <= 1
    return found


@pytest.mark.parametrize("text", ["我很高兴。", "没有问题", "並不難過", "一点也不难过！"])
def test_chinese_that_is_good(chinese, text):
    assert score(chinese, text) > 0.1


@pytest.mark.parametrize("text", ["我非常难过。", "有问题", "不满意", "服务不好", "質量太差了"])
def test_chinese_that_is_bad(chinese, text):
    assert score(chinese, text) < -0.1


@pytest.mark.parametrize("text", ["", "今天是星期三", "上面下面", "。。。"])
def test_chinese_that_is_neither(chinese, text):
    assert score(chinese, text) == 0


def test_degree_and_negation_count(chinese):
    assert (
        score(chinese, "非常高兴") > score(chinese, "很高兴") > score(chinese, "高兴") > score(chinese, "有点高兴") > 0
    )
    assert abs(score(chinese, "不难过")) < abs(score(chinese, "难过"))
    assert score(chinese, "不去，高兴") == score(chinese, "高兴"), "a negation ends with its clause"


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("content", [Evil(), {"好"}, ["好", 1]])
def test_a_list_that_holds_more_than_words_is_refused(lexicon, tmp_path, content, capsys):
    (lexicon / "pos.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(FailedPrecondition):
        hownet.load(model("hownet-zh"), SpeechSettings(home=tmp_path))
    assert not capsys.readouterr().out


def test_english():
    reader = vader.load(model("vader-en"), SpeechSettings())
    assert score(reader, "What a wonderful day, I love it!") > 0.5
    assert score(reader, "I do not like this terrible noise.") < -0.5
    assert score(reader, "The train leaves at noon.") == 0
    assert score(reader, "") == 0
