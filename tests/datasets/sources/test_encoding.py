import json

import pytest

from luthier.datasets.sources.encoding import detect_encoding
from luthier.errors import DataError

ROWS = [{"instruction": "请介绍一下你自己，谢谢。", "output": "你好！我是一个人工智能助手，很高兴为你服务。"}] * 3
ARRAY = json.dumps(ROWS, ensure_ascii=False)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", ARRAY), ("a.jsonl", LINES), ("a.csv", "instruction,output\r\n你好吗，朋友,我很好，谢谢你\r\n" * 3)],
)
def test_recognised(read, write, codec, name, text):
    text = text.replace("\r\n你好吗，朋友,我很好，谢谢你\r\ninstruction,output", "\r\n你好吗，朋友,我很好，谢谢你")
    if name == "a.csv" and codec in ("utf-16-le", "utf-16-be"):
        pytest.skip("only JSON is told apart without a byte order mark")
    write(name, text.encode(codec))
    samples = list(read({"set": {"file_name": name}}))
    assert len(samples) == 3
    assert samples[0].messages[0].content in ("请介绍一下你自己，谢谢。", "你好吗，朋友")


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ('[{"instruction": "請介紹一下你自己，謝謝你的幫助"}]', "big5"),
        ('[{"instruction": "自己紹介をしてください。ありがとうございます"}]', "shift_jis"),
        ('[{"instruction": "Où est la bibliothèque près de l\'école élémentaire à côté"}]', "latin-1"),
        ('[{"instruction": "Где находится библиотека имени Ленина в городе"}]', "cp1251"),
    ],
)
def test_refused_with_the_remedy(read, write, text, codec):
    write("a.json", text.encode(codec))
    with pytest.raises(DataError, match=r"a\.json is not UTF-8 text \(byte \d+, line 1\)[^\n]*\n[^\n]*iconv.*\"encoding\""):
        list(read({"set": {"file_name": "a.json"}}))


def test_named_in_the_entry(read, write):
    write("a.json", '[{"instruction": "où", "output": "là"}]'.encode("latin-1"))
    sample = next(iter(read({"set": {"file_name": "a.json", "encoding": "latin-1"}})))
    assert sample.messages[0].content == "où"
    with pytest.raises(DataError, match='unknown encoding "latin-x"'):
        list(read({"set": {"file_name": "a.json", "encoding": "latin-x"}}))


def test_a_character_cut_at_the_end_of_the_head_is_no_error():
    head = ("中" * 1000).encode()[:-1]
    assert detect_encoding(head, "a.json") == "utf-8"


def test_bad_bytes_later_in_the_file_name_the_row(read, write):
    write("a.csv", b"instruction,output\n" + b"question,answer\n" * 100_000 + b"caf\xe9,x\n")
    with pytest.raises(DataError, match=r"a\.csv is not UTF-8 text \(after row \d+\)"):
        list(read({"set": {"file_name": "a.csv"}}))
