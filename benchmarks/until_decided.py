"""What do looks after each repeat cost, and what do they save? Real learners on real texts.

    AMPMIX_DATA=FOLDER python benchmarks/until_decided.py [--studies N]

Studies of SUBJ look after 2, 3, ... repeats of five folds, as ``ampmix compare --until-decided``
does: two policies against a baseline. In a null study all three are naive Bayes on a random half of
the words, drawn anew in each run; else the policies have 70 % and 90 % of them. Figures go to
``benchmarks/results/until_decided.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from _cheap_learners import naive_bayes
from ampmix.statistics import judge_in_turn, judge_together, repeated_difference
from repeated import SUBJ, World, pool_of

RESULTS = Path(__file__).parent / "results" / "until_decided.json"
COMMAND = "AMPMIX_DATA=FOLDER python benchmarks/until_decided.py"
MOST, TEXTS = 6, 300
SHARES = {"null": (0.5, 0.5, 0.5), "different": (0.5, 0.7, 0.9)}


def study(world: World, rng: np.random.Generator, shares: tuple[float, ...]) -> dict[str, Any]:
    """One study: what it claims at its looks, after all repeats at once, and by naive looks."""
    draw, layout, _ = world.draw(pool_of(world.file), rng, MOST)
    base, *own = (naive_bayes(share)(draw).astype(float) for share in shares)
    looks = [
        {
            i: repeated_difference(one[:r], base[:r], layout.folds[:r]).scaled(100)
            for i, one in enumerate(own)
        }
        for r in range(2, MOST + 1)
    ]
    turns = judge_in_turn(looks, MOST, margin=1.0)
    fixed = judge_together(looks[-1], margin=1.0)
    at = [turns.decided_at.get(i, MOST) for i in range(len(own))]
    claims = [one.decision.endswith("error") for one in turns.judgements.values()]
    return {
        "alarm": any(claims),
        "alarm_fixed": any(one.decision.endswith("error") for one in fixed.values()),
        "alarm_naive": any(
            one.decision.endswith("error")
            for look in looks
            for one in judge_together(look).values()
        ),
        "decided": turns.all_decided,
        "decided_fixed": all(one.decision != "no difference shown" for one in fixed.values()),
        "repeats": max(at),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, metavar="N")
    options = parser.parse_args()
    started, rows = time.process_time(), []
    for kind, shares in SHARES.items():
        world = World(f"{kind}, {TEXTS} texts", SUBJ, TEXTS)
        rng = np.random.default_rng([TEXTS, *kind.encode()])
        n = options.studies if kind == "null" else options.studies // 5
        found = [study(world, rng, shares) for _ in range(n)]
        means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        rows.append({"kind": kind, "texts": TEXTS, "studies": n, "most": MOST, **means})
        print(*rows[-1].items(), flush=True)
        told = {"command": COMMAND, "seconds": round(time.process_time() - started)}
        RESULTS.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
