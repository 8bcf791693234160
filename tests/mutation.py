"""Would the tests notice? Changes one operator, number, comparison or condition of a module at a time, runs the tests on it in a process of its own, and lists the
changes that nobody noticed. `python tests/mutation.py backprop model ngrams glove [--sample N] [--out docs/mutants.md]`; a survivor may be harmless: judge each."""
import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {"backprop": "gradient or slopes or refusals_of_the_network or other_names",
         "model": "not kneser and not mixtures and not vectors and not pairs and not map and not embedding and not "
                  "sweep and not discounts", "ngrams": "kneser or mixtures or discounts",
         "glove": "pairs or vectors or sweep"}
ODD = ["tests/test_arguments.py::test_word_numbers_of_every_type_give_the_same",
       "tests/test_arguments.py::test_what_used_to_pass_or_to_break"]
MORE = {"ngrams": ["tests/test_ngrams.py"], "model": ["tests/test_fuzz.py::test_models_that_lie",
    "tests/test_fuzz.py::test_partially_trained_that_lies", *ODD], "glove": ODD, "backprop": ODD}
SWAP = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult,
        ast.Pow: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
        ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
        ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
        ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd, ast.Invert: ast.UAdd}


def places(tree):
    "(node, what) for each change that can be made; texts, annotations and messages are left alone."
    def walk(node, quiet):
        if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)): return
        if isinstance(node, ast.FunctionDef):
            children = node.body + node.args.defaults + [d for d in node.args.kw_defaults if d]
        elif isinstance(node, ast.AnnAssign): children = [node.value] if node.value else []
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return
        else: children = list(ast.iter_child_nodes(node))
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.AugAssign)) and type(node.op) in SWAP:
            yield node, "op"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not): yield node, "not"
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in SWAP: yield node, ("ops", i)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool): yield node, "value"
        if isinstance(node, (ast.If, ast.IfExp, ast.While)): yield node, "test"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call): yield node, "gone"
        for child in children: yield from walk(child, quiet)
    yield from walk(tree, False)


def change(node, what):
    if what == "op": node.op = SWAP[type(node.op)]()
    elif what == "not": node.op = ast.UAdd(); node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
    elif what == "value":
        node.value = (not node.value if isinstance(node.value, bool) else node.value + 1 if isinstance(node.value, int)
                      else node.value * 2 + .5)
    elif what == "test": node.test = ast.UnaryOp(ast.Not(), node.test)
    elif what == "gone": node.value = ast.Constant(None)
    else: node.ops[what[1]] = SWAP[type(node.ops[what[1]])]()


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    "Imports one module from a changed tree."
    def __init__(self, name, code): self.name, self.code = name, code
    def find_spec(self, name, path, target=None):
        return (importlib.util.spec_from_loader(name, self, origin=str(ROOT / "lm_nbdev" / f"{name.split('.')[1]}.py"))
                if name == self.name else None)
    def create_module(self, spec): return None
    def exec_module(self, module):
        module.__file__ = str(ROOT / "lm_nbdev" / f"{self.name.split('.')[1]}.py")
        exec(self.code, module.__dict__)


def run(module, code, files, words, seconds):
    "Exit code of the tests on a changed module, in a fork; 99 if they took too long."
    pid = os.fork()
    if pid == 0:
        os.setsid(); null = os.open(os.devnull, os.O_RDWR); os.dup2(null, 1); os.dup2(null, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if code is not None: sys.meta_path.insert(0, Changed(f"lm_nbdev.{module}", code))
        import pytest, resource
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *files,
                                  *(["-k", words] if words else [])])))
    end = time.time() + seconds
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.02)
    os.killpg(pid, signal.SIGKILL); os.waitpid(pid, 0)
    return 99


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--out")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault("LM_NBDEV_EXAMPLES", "10"); os.environ["OPENBLAS_NUM_THREADS"] = "1"; os.chdir(ROOT)
    # once, before the forks
    import numpy, numpy.testing, pytest, hypothesis, hypothesis.strategies, safetensors.numpy, threadpoolctl, tqdm.auto
    assert not any(m.startswith("lm_nbdev.") for m in sys.modules)
    lines = []
    for module in args.modules:
        source = (ROOT / "lm_nbdev" / f"{module}.py").read_text(encoding="utf-8"); tree = ast.parse(source)
        stages = [(["tests/test_properties.py"], TESTS[module])] + ([(MORE[module], "")] if module in MORE else [])
        start = time.time()
        for files, words in stages:
            assert run(module, compile(source, module, "exec"), files, words,
                       600) == 0, f"the tests of {module} fail as it is"
        # ten times as long as usual: it hangs
        seconds = max(args.seconds, 10 * (time.time() - start)); late = 0
        chosen = list(range(len(list(places(tree)))))
        if args.sample and args.sample < len(chosen):
            chosen = sorted(random.Random(args.seed).sample(chosen, args.sample))
        survived, total = [], len(list(places(tree)))
        for n in chosen:
            other = copy.deepcopy(tree)
            node, what = list(places(other))[n]
            line = node.lineno
            before = ast.unparse(node)
            change(node, what)
            code = compile(ast.fix_missing_locations(other), module, "exec")
            codes = [0]
            for files, words in stages:
                if codes[-1] == 0: codes.append(run(module, code, files, words, seconds))
            late += codes[-1] == 99
            if not any(codes):
                survived.append((line, before, ast.unparse(node), source.splitlines()[line - 1].strip()))
                print(module, survived[-1], flush=True)
        killed = len(chosen) - len(survived)
        lines += [f"## {module}: {killed} of {len(chosen)} killed ({late} of them by hanging), "
                  f"{killed / len(chosen):.1%}" + (f" (of {total} possible changes)" if total > len(chosen) else ""),
                  ""]
        lines += [f"- line {line}: `{a}` became `{b}` in `{text}`" for line, a, b, text in survived] + [""]
        print(lines[-len(survived) - 3], flush=True)
        if args.out: Path(args.out).write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__": main()
