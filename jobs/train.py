"""What `torchrun -m jobs.train CONFIG --out DIR` starts on each device: m3w train, whose ranks find one another by torchrun's variables."""

import sys

from jobs.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
