"""The words that users meet, each explained once: under the figures of report.html, at its end, in docs/glossary.md."""

from __future__ import annotations

TERMS = {
    "accuracy": "The share of held-out samples whose label the model finds. It needs data with labels.",
    "branch": "A detour of a residual network, whose result is added to what goes past it. A whole branch can be "
    "removed, which makes the network shallower; branches are ranked by how far the outputs move without each.",
    "candidate": "A smaller version of the model that the search considers: which share of each group goes, and how "
    "many branches. Candidates are judged before fine-tuning, so the result is usually better than its candidate.",
    "channel": "One feature map of a layer, or one output of a dense layer. pfir removes whole channels, so that "
    "what is left is a smaller dense network.",
    "counted instructions": "The model behind the estimate: how many instructions of each class a layer's kernel "
    "executes, times what such an instruction takes of the core, and the time for bytes that its cache does not hold.",
    "cross entropy": "How surprised the model is by the labels: the part of the loss that they give.",
    "distillation": "How far the outputs are from the teacher's, which is the original: the part of the loss that it "
    "gives.",
    "divergence": "How far a candidate's outputs are from the original's; 0 is equal. For a classifier it is the "
    "Kullback-Leibler divergence of the class probabilities, otherwise the relative squared error. It tells "
    "candidates apart where the fidelity does not.",
    "eight bits": "int8: weights and intermediate results are integers, each times a scale. They take a quarter of the "
    "bytes of float32, and on cores that multiply them faster less time; rounding to them costs some accuracy.",
    "epoch": "One pass over the training data.",
    "estimate": "A latency that was calculated rather than measured: for each layer the time that a model of the "
    "named core says. The ± is the error that it showed against published measurements of networks that it was "
    "not fitted to. `--device` measures instead.",
    "fidelity": "How well the compressed model agrees with the original, from 0 to 1; it needs no labels. For a "
    "classifier it is the share of samples on which both give the same best class; otherwise 1 minus the relative "
    "error of the outputs.",
    "finalist": "One of the best candidates of the search, each unlike the others. Where the time allows, up to four "
    "are trained briefly, and the one that is then nearest to the original gets the long training.",
    "fine-tuning": "Training what is left, with the original as the teacher (distillation), so that it recovers "
    "what the removal cost.",
    "fit layers": "Before fine-tuning, each layer's weights are solved for (least squares) so that it gives what "
    "the original's layer gave, in spite of the missing channels.",
    "generated inputs": "What stands in for data where none was given: random images or signals in the range that "
    "the model expects. They say how alike two models are, not how good.",
    "group": "Channels of several layers that can only be removed together, because additions or depthwise layers "
    "tie them. A group has the name of the first layer that makes it.",
    "held-back loss": "The divergence from the original on samples that fine-tuning does not see, after an epoch; the "
    "held-back accuracy and fidelity are found on the same samples. Where it rises while the loss falls, training "
    "learns its samples by heart. Epochs after which it would take too long have none.",
    "instructions": "Machine instructions of one inference, counted on an emulated ARM device: exact, but not a time.",
    "kernel": "The compiled code of one layer with what is fused into it. A tuned kernel is computed in the way "
    "that was measured to be the fastest on such a core; the others follow a model of the core.",
    "latency": "The time of one inference, that is of one batch.",
    "loss": "What fine-tuning makes small: how far the outputs are from the teacher's, and from the labels where "
    "there are some.",
    "multiply-accumulates": "MACs: how many times one inference multiplies two numbers and adds the product up. "
    "Close to the amount of work, but not a time.",
    "parameters": "The numbers that the model has learnt.",
    "Pareto front": "The best candidates at each cost: no other one is both cheaper and more alike to the original.",
    "peak activations": "The most memory that intermediate results take at one time during an inference; weights "
    "are not in it.",
    "pinned": "Channels that have to stay: an output of the model needs them, or a layer fixes their number. `pfir "
    "inspect` lists them.",
    "recipe": "recipe.json with weights.npz: what was chosen, so that `--recipe` makes the same model again without "
    "search and training.",
    "size": "Bytes of the weights.",
    "speed-up": "The original's latency divided by the result's, both found in the same way. Both sides run on "
    "pfir's kernels, so the compiler is no part of it.",
    "this machine": "Both models compiled for the computer that ran pfir, and measured there on one thread. It "
    "shows that the gain is real somewhere; on the target it will be another.",
    "trial": "One candidate that was built and judged. The search learns from each which ones to try next.",
    "verification": "The compiled library and ONNX Runtime compute the same samples, and their outputs are compared.",
}

STAGES = {
    "load": "load model and data",
    "judge the original": "judge the original",
    "analyse": "find what may be removed",
    "choose precision": "choose what layers compute in",
    "compose": "choose codebooks and zeros",
    "rank branches": "rank residual branches",
    "search": "search: try candidates",
    "fit layers": "fit the layers' weights",
    "train finalists": "train finalists briefly",
    "make zeros": "make weights zero",
    "fine-tune": "fine-tune",
    "quantize": "quantize",
    "train quantized": "train the quantized model",
    "find codebooks": "find codebooks for weights",
    "train codebooks": "train the codebooks",
    "replay": "replay the recipe",
    "build": "compile",
    "verify": "verify the library",
    "measure": "measure the result",
}
"""The stages of a run as users see them, by the names that report.json has: short, since a bar stands beside them."""


def stage(name: str) -> str:
    """A stage in plain words."""
    return STAGES.get(name, name)


def in_order() -> list[tuple[str, str]]:
    """Every term with its meaning, by the alphabet."""
    return sorted(TERMS.items(), key=lambda term: term[0].lower())
