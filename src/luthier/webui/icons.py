"""The drawings of the page: thin lines on a grid of 24, no font and no file to fetch.

Enters: a name.  Leaves: an element that takes the colour of the text around it.
"""

from __future__ import annotations

from nicegui import ui

PATHS = {
    "train": "M3.5 4v16h17 M6.5 6.5c2 7.5 6 10 13 10",
    "runs": "M4 6.5h16 M4 12h16 M4 17.5h10",
    "evaluate": "M8.5 11.5l3 3 8.5-9 M20 12.5V19H4V5h9.5",
    "chat": "M4 5h16v11.5H10L5.5 20v-3.5H4z",
    "export": "M12 3.5v11 M7.5 10.5l4.5 4.5 4.5-4.5 M4 20h16",
    "data": "M4 5h16v14H4z M4 10h16 M10 5v14",
    "documents": "M6 3.5h8l4 4v13H6z M14 3.5v4h4 M9 12h6 M9 16h6",
    "moon": "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
    "sun": "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8z M12 2.5v2 M12 19.5v2 M2.5 12h2 M19.5 12h2 M5.3 5.3l1.4 1.4 M17.3 17.3l1.4 1.4 M5.3 18.7l1.4-1.4 M17.3 6.7l1.4-1.4",  # noqa: E501
    "why": "M9.2 9.3a2.9 2.9 0 1 1 4.2 2.6c-1 .5-1.4 1.1-1.4 2.1 M12 17.2v.1",
    "copy": "M9 9h11v11H9z M15 9V4H4v11h5",
    "play": "M7 4.5l12 7.5-12 7.5z",
    "stop": "M6 6h12v12H6z",
    "close": "M6 6l12 12 M18 6L6 18",
    "refresh": "M19.5 12a7.5 7.5 0 1 1-2.3-5.4 M19.5 3.5v4h-4",
    "good": "M7.5 11v9H4v-9z M7.5 11l4-7.5c1.7 0 2.5 1.2 2.2 2.7L13 9.5h5.5c1.2 0 2 1 1.7 2.2l-1.5 6.5c-.2 1-1 1.8-2.1 1.8H7.5",
    "bad": "M7.5 13V4H4v9z M7.5 13l4 7.5c1.7 0 2.5-1.2 2.2-2.7l-.7-3.3h5.5c1.2 0 2-1 1.7-2.2l-1.5-6.5c-.2-1-1-1.8-2.1-1.8H7.5",
    "edit": "M4 20l1-4.5L16 4.5l3.5 3.5-11 11z M13.5 7l3.5 3.5",
    "delete": "M5 7h14 M9.5 7V4h5v3 M7 7l1 13h8l1-13 M10.5 11v5 M13.5 11v5",
    "plus": "M12 5v14 M5 12h14",
    "folder": "M3.5 6h6l2 2.5h9V19h-17z",
    "upload": "M12 15.5v-11 M7.5 8.5L12 4l4.5 4.5 M4 20h16",
    "save": "M5 4h11l3 3v13H5z M8.5 4v5h6V4 M8 20v-6h8v6",
    "open": "M13.5 4.5H20V11 M20 4.5l-9 9 M17.5 14v5.5h-13v-13H10",
    "more": "M6 12h.1 M12 12h.1 M18 12h.1",
    "down": "M6 9.5l6 6 6-6",
    "left": "M14.5 6l-6 6 6 6",
    "right": "M9.5 6l6 6-6 6",
    "check": "M5 12.5l4.5 4.5L19 7.5",
    "warn": "M12 4L2.5 20h19z M12 10v5 M12 17.5v.1",
    "eye": "M2.5 12c3-5 6-7 9.5-7s6.5 2 9.5 7c-3 5-6 7-9.5 7s-6.5-2-9.5-7z M12 9.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 0 0 0-5z",
    "bolt": "M13 3L5 13.5h6L10.5 21 19 10.5h-6z",
    "clock": "M12 4a8 8 0 1 0 0 16a8 8 0 0 0 0-16z M12 7.5V12l3 2",
    "compare": "M4 5h7v14H4z M13 5h7v14h-7z",
    "send": "M4 12l16-7.5L14 20l-3-6.5z",
    "language": "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 0 0 0-17z M3.5 12h17 M12 3.5c-5 5-5 12 0 17 M12 3.5c5 5 5 12 0 17",
}


def icon(name: str, size: int = 18) -> ui.html:
    """A drawing that screen readers pass over; what it stands beside has to say what it means."""
    drawing = (
        f'<svg width="{size}" height="{size}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.6" '
        f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d="{PATHS[name]}"/></svg>'
    )
    return ui.html(drawing, sanitize=False, tag="span").classes("icon")


def logo() -> ui.html:
    """The sound hole of a violin."""
    drawing = (
        '<svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true"><g fill="none" stroke="currentColor" '
        'stroke-width="1.7" stroke-linecap="round"><path d="M15.5 5.7c-.9-1.7-3.8-1.6-4.2.8-.6 3.2 1.6 6.2 1 10-.4 2.4-3 '
        '2.9-4.2 1.1"/><path d="M9.5 11.2l5 1.3"/></g><g fill="currentColor"><circle cx="15.3" cy="6.5" r="1.5"/>'
        '<circle cx="8.5" cy="16.8" r="1.5"/></g></svg>'
    )
    return ui.html(drawing, sanitize=False, tag="span").classes("icon")
