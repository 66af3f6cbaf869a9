"""Documents for the tests of the page: a Markdown manual, and a small PDF file with two pages, written here byte by byte."""

from __future__ import annotations

from pathlib import Path

MANUALS = {
    "en": """# Tern 200 washing machine

The Tern 200 is a front loading washing machine for up to 8 kg of laundry. It has twelve programmes and a child lock.

## How to start a wash

1. Put the laundry into the drum and close the door.
2. Pour the detergent into the left part of the drawer.
3. Turn the dial to a programme.
4. Press Start. The door locks by itself.

## How to clean the filter

Do this every two months. Switch the machine off and unplug it first.

1. Open the small flap at the bottom right.
2. Put a flat bowl under it and turn the filter to the left.
3. Rinse the filter under the tap and screw it back in.

## Programmes

| Programme | Temperature | Duration |
|---|---|---|
| Cotton | 60 °C | 2 h 30 min |
| Quick | 30 °C | 30 min |
| Wool | 30 °C | 45 min |

## Frequently asked questions

**Why does the door not open?**

The door stays locked for two minutes after the end of a programme. After that, hold the dial for five seconds.

**Why is there foam after rinsing?**

Too much detergent was used. Run the rinse programme once more and use half as much next time.

## Child lock

The child lock keeps children from starting the machine. Hold the key button for three seconds to switch it on or off.
""",
    "zh": """# 燕鸥 200 洗衣机

燕鸥 200 是一款滚筒洗衣机，一次最多洗 8 公斤衣物，有十二种程序和童锁。

## 如何开始洗涤

1. 把衣物放进滚筒，关好门。
2. 把洗衣液倒进抽屉左侧。
3. 把旋钮转到要用的程序。
4. 按“启动”。门会自动锁上。

## 如何清洗过滤器

每两个月清洗一次。请先关机并拔下插头。

1. 打开右下角的小盖。
2. 在下面放一个浅盆，向左旋出过滤器。
3. 用清水冲洗过滤器，再旋回去。

## 程序一览

| 程序 | 温度 | 时长 |
|---|---|---|
| 棉麻 | 60 ℃ | 2 小时 30 分 |
| 快洗 | 30 ℃ | 30 分 |
| 羊毛 | 30 ℃ | 45 分 |

## 常见问题

**门为什么打不开？**

程序结束后门会再锁两分钟。如果仍然打不开，请按住旋钮五秒。

**漂洗后为什么有泡沫？**

洗衣液放多了。请再漂洗一次，下次用一半的量。

## 童锁

童锁可以防止儿童启动洗衣机。按住钥匙键三秒可以打开或关闭童锁。
""",
}
PAGES = (
    (
        ("Tern 200 Service Notes", 20),
        ("Transport bolts", 15),
        ("Remove the four transport bolts before the first wash.", 11),
        ("Keep the bolts: they are needed whenever the machine is moved.", 11),
        ("Water supply", 15),
        ("The water pressure must be between 0.5 and 10 bar.", 11),
        ("A pressure below 0.5 bar gives the error code E10.", 11),
    ),
    (
        ("Error codes", 15),
        ("E10 means that too little water comes in. Open the tap fully.", 11),
        ("E20 means that the water does not drain. Clean the filter.", 11),
        ("E40 means that the door is not closed. Close it firmly.", 11),
        ("Warranty", 15),
        ("The warranty lasts two years from the day of purchase.", 11),
    ),
)


def write_manual(folder: Path, lang: str) -> Path:
    file = folder / ("manual.md" if lang == "en" else "说明书.md")
    file.write_text(MANUALS[lang], encoding="utf-8")
    return file


def write_pdf(file: Path) -> Path:
    """Text in Helvetica, one object after another, with the table of their places that the format asks for."""
    count = len(PAGES)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"]
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, lines in enumerate(PAGES):
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * number} 0 R >>"
        )
        at, words = 780, []
        for text, size in lines:
            at -= 30 if size > 11 else 0
            words.append(f"BT /F1 {size} Tf 72 {at} Td ({text}) Tj ET")
            at -= 24
        stream = "\n".join(words)
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{out.index(b'xref')}\n%%EOF\n".encode()
    file.write_bytes(out)
    return file
