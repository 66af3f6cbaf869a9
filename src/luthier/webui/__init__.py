"""The Board: the web page from which everything can be done without code.

    app.py       the web process: FastAPI, NiceGUI, one route a page     security.py  token, origin, folders, limits
    page.py      what a page knows of its reader: language, look, forms   shell.py     navigation, model bar, machine strip
    form.py      settings as they are typed; fields.py draws them         layout.yaml  which keys stand where
    jobs.py      trainings and others as processes of their own           turn.py      such a process waits for its turn
    helper.py    the process that may import torch (forecast, preview)    talker.py    the process that holds the chat models
    curves.py    metrics files to charts                                  pages/       one file a page

The web process never imports torch, and holds no truth: that lies in the run folders (luthier.runs) and in the browser's
settings.
"""
