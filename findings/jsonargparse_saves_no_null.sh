#!/bin/sh
# jsonargparse 4.53.0: an argument that is set to null is left out by dump and save, and is the default again when that is read.
#
# Guess that was wrong: a configuration that was saved and read again is the one that was saved.
# Seen: rate=None, where the class has rate=0.5, is not in the file; parsed again it is 0.5. What --print_config prints does
# hold "rate: null", and so does skip_none=False (skip_unset in newer versions).
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet uv==0.13.9
"$place/venv/bin/uv" pip install --quiet --python "$place/venv/bin/python" jsonargparse==4.53.0 pyyaml==6.0.4
cd "$place"
cat > program.py <<'PROGRAM'
import contextlib
import io
import warnings

from jsonargparse import ArgumentParser

warnings.filterwarnings("ignore")


class Net:
    def __init__(self, size: int = 3, rate: float | None = 0.5):
        pass


parser = ArgumentParser()
parser.add_class_arguments(Net, "net")
parser.add_argument("--config", action="config")
config = parser.parse_args(["--net.rate=null"])
parser.save(config, "saved.yaml")
texts = {"dump": parser.dump(config), "save": open("saved.yaml").read(), "skip_none": parser.dump(config, skip_none=False)}
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    parser.parse_args(["--net.rate=null", "--print_config"])
texts["print_config"] = printed.getvalue()
found = {name: ("rate" in text, parser.parse_string(text).net.rate) for name, text in texts.items()}
print(config.net, found)
assert config.net.rate is None
assert found == {
    "dump": (False, 0.5),
    "save": (False, 0.5),
    "skip_none": (True, None),
    "print_config": (True, None),
}, found
PROGRAM
"$place/venv/bin/python" program.py
