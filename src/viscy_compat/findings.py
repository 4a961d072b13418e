"""Findings, verdicts and reports: what the judging rooms hand to the speaking ones.

The catalogue of finding codes is data. A code never changes its meaning; a new meaning gets a new code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from viscy_compat.named import NamedTuple
from viscy_compat.version import __version__

if TYPE_CHECKING:
    from viscy_compat.exhibits import Exhibits

Severity = Literal["error", "warning", "note"]
Verdict = Literal["compatible", "remappable", "incompatible", "unknown", "unreadable"]

EXIT_CODES: dict[Verdict, int] = {"compatible": 0, "remappable": 1, "incompatible": 1, "unknown": 2, "unreadable": 2}


class Code(NamedTuple):
    """One entry of the catalogue: what a code means, and what a reader can do about it.

    ``predictions``: a finding of this code says that predictions may be other ones than those of the model that was
    trained, so that ``--strict`` does not let it pass.
    """

    id: str
    severity: Severity
    title: str
    meaning: str
    remedy: str
    predictions: bool = False


_KEYS: tuple[Code, ...] = (
    Code(
        "VC101",
        "error",
        "tensors are missing",
        "The configuration that fits this file best needs tensors that the file does not hold. Without them the module "
        "would keep random numbers in their place.",
        "Find the complete checkpoint. If these tensors only have other names, 'viscy-compat remap FILE --as CLASS' looks "
        "for the renames.",
    ),
    Code(
        "VC102",
        "error",
        "tensors have no place",
        "The file holds tensors that the class does not have in the configuration that fits best.",
        "If they belong to a fork of the class, say which class is meant: 'viscy-compat remap FILE --as CLASS'.",
    ),
    Code(
        "VC103",
        "note",
        "a wrapper prefix is in front of the names",
        "A wrapper (a LightningModule, DistributedDataParallel, torch.compile) put its prefix in front of every name. It "
        "is recognised and taken off.",
        "Nothing, with viscy_compat.load_model or load_state_dict. For plain torch, 'viscy-compat remap FILE -o OUT' "
        "writes the names without it.",
    ),
    Code(
        "VC104",
        "note",
        "the tensors stand in another order",
        "The names and shapes are those of the class, but not in the order of its state_dict(). Loading goes by name, so "
        "the order changes nothing but optimizer state, which torch keeps by position.",
        "Nothing for inference. For going on with training, keep the optimizer state only if it was saved in this "
        "order.",
    ),
    Code(
        "VC105",
        "error",
        "the layout is that of an older generation",
        "An older state of the class wrote this file. Its tensors have other names or lack some that today's class has, "
        "and the way to today's layout is known.",
        "viscy-compat remap FILE -o OUT writes it; --prove shows that the outputs are the same.",
    ),
    Code(
        "VC106",
        "warning",
        "tensors outside the model",
        "Besides the model the file holds tensors of something else (a loss, an averaging counter), outside the wrapper "
        "prefix. The migrated class has no place for them.",
        "viscy-compat remap FILE -o OUT writes the model without them.",
    ),
    Code(
        "VC107",
        "error",
        "an older generation without a way to today's layout",
        "An older state of the class wrote this file, and today's class has tensors that nothing in the file could be "
        "turned into.",
        "Run it with the release that wrote it, or train again. The weights that both have can serve as a start.",
    ),
    Code(
        "VC108",
        "note",
        "batch counters are missing",
        "The batch norms of the file lack num_batches_tracked, and its state dict does not say that they ever had it. A "
        "strict load starts them at 0. They are read only where a batch norm's momentum is None, which no class here has.",
        "Nothing.",
    ),
    Code(
        "VC109",
        "warning",
        "batch counters are missing that the file says it had",
        "The batch norms of the file lack num_batches_tracked, and the versions that torch keeps beside the tensors "
        "(_metadata) say that they had it. A strict load refuses that.",
        "viscy-compat remap FILE -o OUT writes them with 0, as torch would start them.",
    ),
    Code(
        "VC110",
        "warning",
        "entries of the state dict are no tensors",
        "Something else stands among the tensors (an epoch, a score, the extra state of a module that the class does not "
        "have). A strict load takes it for a name that the class does not have.",
        "viscy-compat remap FILE -o OUT writes the tensors alone.",
    ),
    Code(
        "VC120",
        "error",
        "weights in a parametrised form",
        "The module computes its weight from several tensors (weight_norm, spectral_norm, a parametrization, pruning). The "
        "class has the plain weight, and none of the tensors is it: renaming one and dropping the others gives another "
        "function.",
        "Bake the weight in the program that builds the model (the finding names the call), and save the state dict again.",
    ),
    Code(
        "VC121",
        "error",
        "an adapter's weights",
        "The file holds an adapter (LoRA and others of PEFT). Without it the base model predicts something else; with it, "
        "the weights are those of the base plus what the adapter adds.",
        "Merge it: model.merge_and_unload(), and save the state dict again. If the base alone is wanted, --drop the adapter.",
    ),
    Code(
        "VC122",
        "error",
        "quantised weights, or observers",
        "Integers with scales and zero points (torch.ao, bitsandbytes, GPTQ), or the observers and fake quantisation of "
        "training for it, stand where the class has float weights.",
        "Save the float model from before it was quantised.",
    ),
    Code(
        "VC123",
        "error",
        "slopes of an activation",
        "A module holds one number or one vector alone, as a PReLU does. The class has no such tensor in any configuration "
        "that fits the rest.",
        "Build the class with that activation, if it has such an argument, or keep the fork's own class.",
    ),
    Code(
        "VC124",
        "warning",
        "a drop changes predictions",
        "--drop, or a plan file, leaves tensors out that are not known to be harmless. The new file loads, and computes "
        "something else than the source.",
        "Compare outputs that you have: --expect IO.safetensors. The plan, and the new file's metadata, say it too.",
    ),
    Code(
        "VC125",
        "warning",
        "the file was written without tensors that compute",
        "The remap that wrote this file left tensors out because --drop said so. Its predictions are not those of its source.",
        "Go back to the source, bake or merge what was dropped, and remap it again.",
    ),
    Code(
        "VC111",
        "error",
        "the candidate has other tensor names",
        "The old class and the candidate, built with the same arguments, give state dicts with different names. An "
        "old checkpoint does not load strictly.",
        "Give the attributes their old names back, or freeze a new generation with its rows to today's layout.",
    ),
    Code(
        "VC112",
        "error",
        "the candidate registers its tensors in another order",
        "The names are the same, but state_dict() lists them in another order. Loading goes by name, but optimizer "
        "state is kept by position, and the seeded initial weights move.",
        "Register the layers in the old order.",
    ),
    Code(
        "VC113",
        "error",
        "no total plan",
        "The class is known, and still some tensors have no place or no certain one: each is named with its reason.",
        "Take the reason away in the program that wrote the file; 'viscy-compat inspect FILE' shows what is there.",
    ),
    Code(
        "VC114",
        "note",
        "the shapes are those of a known class",
        "No known class has these names, but one has tensors of exactly these shapes, as often, in some configuration. The "
        "attributes may have been renamed.",
        "viscy-compat remap FILE --as CLASS looks for the names, and refuses what cannot be known.",
    ),
)

_SHAPES: tuple[Code, ...] = (
    Code(
        "VC201",
        "error",
        "tensors have another shape",
        "The names are those of the class, but these tensors have shapes that the configuration which fits best does not "
        "give.",
        "Nothing can be renamed here: the file was trained with another architecture, or was edited. Compare with the "
        "configuration it was trained with (--config, --set).",
    ),
    Code(
        "VC202",
        "error",
        "floats of 16 or 8 bits",
        "The tensors are float16, bfloat16 or 8-bit floats, the migrated class has float32. Every such value is exactly a "
        "float32 value, "
        "so casting loses nothing.",
        "viscy-compat remap FILE -o OUT casts them.",
    ),
    Code(
        "VC203",
        "error",
        "tensors of a dtype that is not cast",
        "These tensors have a dtype from which there is no exact way to that of the migrated class (float64 would be "
        "rounded, integers are no weights).",
        "Save the checkpoint again in float32 from the program that wrote it.",
    ),
    Code(
        "VC211",
        "error",
        "the candidate has tensors of another shape",
        "Under the same name and the same arguments the old class and the candidate have tensors of different shapes."
        " An old checkpoint does not load.",
        "Restore the old widths, or freeze a new generation.",
    ),
    Code(
        "VC212",
        "error",
        "the candidate has tensors of another dtype",
        "Under the same name and the same arguments the old class and the candidate have tensors of different dtypes.",
        "Restore the old dtype.",
    ),
)

_ARCHITECTURE: tuple[Code, ...] = (
    Code(
        "VC301",
        "error",
        "no known class",
        "The keys and shapes are those of none of the classes that this version knows; the nearest one is named.",
        "If it is a fork of one of them, say which: 'viscy-compat remap FILE --as CLASS'. 'viscy-compat inspect FILE' shows "
        "what is in the file.",
    ),
    Code(
        "VC302",
        "warning",
        "the weights do not tell an argument that changes predictions",
        "Several values of a constructor argument give the same tensors, but other outputs. The file does not say which "
        "one it was trained with.",
        "Look it up in the training configuration and state it: --set NAME=VALUE or --config FILE.yml.",
        predictions=True,
    ),
    Code(
        "VC303",
        "note",
        "the weights do not tell a harmless argument",
        "Several values of a constructor argument give the same tensors and the same predictions; the default is "
        "assumed.",
        "Nothing for inference. State it (--set NAME=VALUE) if training goes on.",
    ),
    Code(
        "VC304",
        "error",
        "what was stated contradicts the weights",
        "An argument given by --set, --config or --as cannot be what this file was trained with: no configuration with "
        "that value has these tensors.",
        "Correct it, or leave it out: the weights tell the rest.",
    ),
    Code(
        "VC305",
        "warning",
        "hyper-parameters in the file contradict its weights",
        "The file stores hyper-parameters, and one of them gives other tensors than the file holds. The weights count, "
        "and nothing is taken from these hyper-parameters.",
        "Nothing, if the checkpoint is the right one; else look for the file that these hyper-parameters belong to.",
    ),
    Code(
        "VC306",
        "warning",
        "the file names a class path that no longer exists",
        "The hyper-parameters name the import path of an old class. LightningCLI imports it, and load_from_checkpoint of "
        "Lightning 2.6.6 refuses the file, since the path names no imported class. Weights load without it.",
        "'viscy-compat remap FILE -o NEW.ckpt --class-path PATH' writes the new class path; use it in configurations too.",
    ),
    Code(
        "VC307",
        "error",
        "the configuration uses a custom module",
        "The tensors are those of a known class with a module of the user's own inside (a Callable as upsample_pre_conv, a "
        "custom activation). Its code is not in the file, so its place cannot be checked.",
        "Build the migrated class with the same callable and load the state dict in your own code, strictly.",
    ),
    Code(
        "VC308",
        "note",
        "a configuration lies beside the file",
        "A configuration stands in the same folder or in the one above (config.yaml of LightningCLI, hparams.yaml of a "
        "logger, Hydra's, or config.json). It may tell what the weights do not; it is not read without being asked for.",
        "Give it: --config FILE.yml.",
    ),
    Code(
        "VC309",
        "warning",
        "a value was found and could not be read",
        "A configuration or the file's own hyper-parameters give an argument that the weights do not tell, but in a form "
        "that is not read: an object of some class, an interpolation, or a value of another kind. It was compared with "
        "nothing.",
        "State the value: --set NAME=VALUE.",
    ),
    Code(
        "VC310",
        "warning",
        "what was stated is not about this class",
        "Of several files, one is of a class that has no argument of a stated name, or for which the configuration "
        "states nothing. What was stated is passed over for this file.",
        "Check files of different classes apart, each with its own statements.",
    ),
    Code(
        "VC320",
        "error",
        "several sets of weights in one state dict",
        "The state dict holds more than one set of a known class, such as a model and its average, a student and its "
        "teacher. Nothing in the file says which one is meant.",
        "Choose one: '--state-dict ADDRESS'. The message lists the addresses; an address is the path of a state dict, and "
        "after a colon the prefix of the set in it.",
    ),
    Code(
        "VC321",
        "warning",
        "the names stand behind another prefix",
        "Every name is that of the class, behind a common prefix that load_state_dict() does not take off ('net.', "
        "'_forward_module.'), with a framework's wrapper inside, or without the class's own first name.",
        "'viscy-compat remap' takes the prefix off, or puts it on; the plan says it in one row.",
    ),
    Code(
        "VC311",
        "error",
        "the constructor has changed",
        "An argument of the old constructor is missing, renamed, at another position, or has another default, and the"
        " change is not a row of the accepted differences. Old calls and old configurations mean something else now.",
        "Restore the argument and its default; new arguments go last.",
    ),
    Code(
        "VC312",
        "error",
        "a public name is gone",
        "A name that the package promises cannot be imported any more.",
        "Export it again, or announce the removal in a new major version.",
    ),
    Code(
        "VC313",
        "note",
        "the configuration leaves an argument to its default",
        "A configuration names the class and does not give an argument that the weights do not tell. The model that was "
        "built from this configuration had the default; whether more was stated elsewhere is not known, so it is not "
        "adopted.",
        "If the model was built from this configuration alone, state the default: --set NAME=VALUE.",
    ),
    Code(
        "VC314",
        "note",
        "a published checkpoint has this layout",
        "The tensors have the names and shapes of a checkpoint that VisCy published, and the file may have its name too. "
        "What that one was trained with is known; that this is the same file is not, so it is not adopted.",
        "If it is that checkpoint, state what it was trained with: --set NAME=VALUE. 'viscy-compat zoo' lists them all.",
    ),
    Code(
        "VC315",
        "warning",
        "two sources give an argument two values",
        "What is stated by the user counts before configurations, those before the file's own hyper-parameters, and "
        "those before the record of a remap. Another source gives another value, which was not taken.",
        "Make sure that the value which was taken is the right one.",
        predictions=True,
    ),
    Code(
        "VC340",
        "note",
        "differs where no old checkpoint can be",
        "The candidate differs from the old class in a configuration which the old class never ran: it raised when it was "
        "built, or at every forward pass. Nobody can have a checkpoint of it.",
        "Nothing: the candidate is free there.",
    ),
    Code(
        "VC341",
        "note",
        "exported classes are not judged",
        "The package exports classes of which neither an architecture file nor a reference knows anything, so nothing is "
        "said about them.",
        "Put one under the gate: viscy-compat record --class PACKAGE.MODULE:CLASS --cases CASES.toml.",
    ),
    Code(
        "VC342",
        "error",
        "the environment of the candidate is not complete",
        "The candidate, or what it needs, is not installed for the interpreter that runs it, or importing it raises. "
        "Nothing was judged.",
        "Install the candidate with what it needs for that interpreter; the message has the command.",
    ),
)

_TORCH_FILES: tuple[Code, ...] = (
    Code(
        "VC330",
        "warning",
        "entries are left out that torch's default refuses",
        "Since 2.6, torch.load reads only a short list of names (weights_only=True), and Lightning asks it the same way. "
        "Entries that name anything else (a callback, a SimpleNamespace, a function among the hyper-parameters) would "
        "keep the whole new file from loading, so they are not in it. The smallest part that offends is left out.",
        "Nothing, if the entries are not needed. --keep-classes keeps them; then torch.load, load_from_checkpoint and "
        "Trainer.fit need weights_only=False.",
    ),
    Code(
        "VC331",
        "warning",
        "entries are written in a plainer form",
        "These entries have a plain form that torch's default reads (the text of a path, the number of a numpy scalar), "
        "and the new file has that form. Code that used them as objects of their class will notice.",
        "Nothing, if a text or a number serves as well. --keep-classes keeps them as they were.",
    ),
    Code(
        "VC332",
        "warning",
        "torch's default refuses the new file",
        "With --keep-classes, entries were kept that name more than torch's default (weights_only=True) reads.",
        "Load it with weights_only=False, which runs what the file names: only if you trust it. Without --keep-classes, "
        "remap leaves these entries out.",
    ),
    Code(
        "VC333",
        "note",
        "torch's default refuses this file",
        "Since 2.6, torch.load reads only a short list of names (weights_only=True), and Lightning asks it the same way. "
        "This file names others. Its tensors are fine.",
        "'viscy-compat remap FILE -o NEW.ckpt' writes a file that torch's default reads, and says what it leaves out.",
    ),
)

_CONTAINER: tuple[Code, ...] = (
    Code(
        "VC401",
        "error",
        "there is no file to read",
        "The path leads to nothing, to a folder, a fifo or a device, or the file may not be read.",
        "Check the path and its permissions. A folder can be given to 'viscy-compat check', which looks for "
        "checkpoints in it.",
    ),
    Code(
        "VC402",
        "error",
        "the file changed or could not be read",
        "The file became another one while it was read, or the disc refused to give its bytes.",
        "Wait until the run that writes it has ended. If the disc is failing, copy the file elsewhere first.",
    ),
    Code(
        "VC403",
        "error",
        "the file is cut",
        "The file promises more bytes than it has: a download or a copy stopped, or the disc was full when it was "
        "saved.",
        "Fetch or copy it again, and compare its size with the original.",
    ),
    Code(
        "VC404",
        "error",
        "the file goes beyond a limit",
        "The file asks for more steps, entries, memory or nesting than an honest checkpoint needs. Limits keep a "
        "stranger's file from filling the memory or running for hours.",
        "If you trust the file, raise the limit that the message names: '--limit NAME=NUMBER'.",
    ),
    Code(
        "VC405",
        "error",
        "the file is empty",
        "The file has no bytes at all.",
        "Fetch it again: the download or the save did not finish.",
    ),
    Code(
        "VC406",
        "error",
        "this is something else than a checkpoint",
        "The content is that of another kind of file (a web page, a git-LFS pointer, a TorchScript or ONNX model, "
        "an archive, an image). The message says which.",
        "The message says how to get from this file to the checkpoint.",
    ),
    Code(
        "VC407",
        "error",
        "the content is unknown",
        "No checkpoint format, and no other format that is known here, begins like this file.",
        "Give a file that torch.save or safetensors wrote. If it is one, its beginning is damaged: fetch it again.",
    ),
    Code(
        "VC410",
        "error",
        "the zip archive is broken or lies",
        "The archive's directory does not describe the file, or disagrees with the entries' own headers. No writer"
        " of checkpoints makes such a file; readers would take different bytes from it.",
        "Fetch the file again. Repairing tools guess: do not trust what they make of it.",
    ),
    Code(
        "VC411",
        "error",
        "two entries of the archive have one name",
        "Readers differ in which of the two they take (torch the first, Python the last), so one of them can be "
        "shown an innocent file and the other a hostile one. Names that differ only in case are one name to torch.",
        "Do not use the file. Fetch it from its source again.",
    ),
    Code(
        "VC412",
        "error",
        "entries of the archive overlap",
        "Two entries share bytes, which no honest writer does.",
        "Do not use the file. Fetch it from its source again.",
    ),
    Code(
        "VC413",
        "error",
        "an entry is encrypted or packed in a way that cannot be",
        "The archive is encrypted, packed by a method that torch cannot read, or states sizes that its packing "
        "cannot have (a bomb).",
        "Unpack it with the tool that made it, or fetch the checkpoint again.",
    ),
    Code(
        "VC414",
        "error",
        "bytes are damaged",
        "The bytes do not have the checksum (CRC-32) that the file states for them. torch would load them as other"
        " values without a word.",
        "Fetch or copy the file again. Only the original can cure this.",
    ),
    Code(
        "VC415",
        "error",
        "the archive has several roots",
        "Everything in a torch file lies in one folder. Readers differ in which of several they take.",
        "Do not use the file. Fetch it from its source again.",
    ),
    Code(
        "VC416",
        "error",
        "the torch stream is broken",
        "The file begins like those of torch before 1.6, and its parts contradict each other.",
        "Fetch the file again.",
    ),
    Code(
        "VC420",
        "error",
        "the pickle is broken",
        "The pickle in the file does what no pickler writes: unknown opcodes, missing values, unknown memo "
        "entries, a structure within itself.",
        "Fetch the file again. The message names the byte.",
    ),
    Code(
        "VC430",
        "error",
        "the file would run something",
        "Loaded the ordinary way (torch.load with weights_only=False, and always before torch 2.6), the file calls"
        " the functions that the finding names. Nothing was called here: they were read as data.",
        "Do not load this file with weights_only=False. If its tensors are what you need, 'viscy-compat remap FILE"
        " -o OUT.safetensors' writes them into a file that cannot run anything.",
    ),
    Code(
        "VC431",
        "note",
        "the file names classes",
        "Loaded the ordinary way, the file imports these packages and makes objects of their classes. Honest "
        "Lightning files and whole modules do. torch.load with weights_only=True refuses such a file.",
        "If you do not trust where the file comes from, write its tensors into a safetensors file: 'viscy-compat "
        "remap FILE -o OUT.safetensors'.",
    ),
    Code(
        "VC440",
        "error",
        "a tensor lies about its bytes",
        "Its shape, strides or offset reach beyond its storage, or its parts are not what torch writes.",
        "Fetch the file again. The message names the tensors.",
    ),
    Code(
        "VC441",
        "error",
        "a tensor of a kind that cannot be read exactly",
        "Quantised, sparse, nested and meta tensors, tensor subclasses and numpy arrays cannot be read without "
        "guessing.",
        "Save a plain state dict: '{k: v.dequantize() ...}' or '.to_dense()', with the torch that wrote the file.",
    ),
    Code(
        "VC442",
        "error",
        "a tensor's storage is missing",
        "The pickle refers to a record that is not in the archive.",
        "Fetch the file again, or take a complete checkpoint.",
    ),
    Code(
        "VC443",
        "error",
        "something else stands where a tensor should be",
        "An entry of the state dict is made by a function that is no way to make a tensor.",
        "Find out who wrote the file. Save a plain state dict with torch.save(model.state_dict(), PATH).",
    ),
    Code(
        "VC444",
        "error",
        "no weights in this file",
        "The file was read, and holds neither a state dict nor a module with parameters.",
        "Give the checkpoint itself; optimizer states, datasets and configurations are often saved beside it.",
    ),
    Code(
        "VC445",
        "error",
        "several state dicts, and none is the usual one",
        "The file holds several sets of weights, and it cannot be known which one is meant.",
        "Choose one: '--state-dict PATH'. The message lists them.",
    ),
    Code(
        "VC446",
        "error",
        "no state dict at that place",
        "'--state-dict' names a place that holds no weights.",
        "The message lists the places that do.",
    ),
    Code(
        "VC447",
        "warning",
        "keys that are no text",
        "The state dict has entries whose keys are numbers or objects. No module's state dict does; they are left out.",
        "Look at the file with 'viscy-compat inspect FILE'.",
    ),
    Code(
        "VC448",
        "note",
        "other state dicts are in the file",
        "The usual one was read; the file holds more, such as an average of the weights.",
        "Choose another one with '--state-dict PATH'.",
    ),
    Code(
        "VC450",
        "error",
        "the safetensors header is broken",
        "The header is not the JSON that the format asks for: UTF-8, no name twice, dtype, shape and two offsets "
        "for each tensor.",
        "Fetch the file again.",
    ),
    Code(
        "VC451",
        "error",
        "the safetensors header does not describe the file",
        "Byte ranges overlap, leave holes, or do not fit the shapes.",
        "Fetch the file again. No writer makes such a file.",
    ),
    Code(
        "VC452",
        "error",
        "a dtype that is not known",
        "The header names a dtype that this version does not know, or that torch has no exact type for.",
        "Save the tensor in a dtype that torch has.",
    ),
    Code(
        "VC460",
        "error",
        "the index of a sharded checkpoint is broken",
        "The '*.index.json' is not the JSON that it should be, or has fields that no writer makes.",
        "Fetch the index again.",
    ),
    Code(
        "VC461",
        "error",
        "a shard lies outside of the folder",
        "The index names a file by a path, or a shard is a link. Followed, it could read any file of this machine.",
        "Do not use this index. Shards lie beside it, under their bare names, as files.",
    ),
    Code(
        "VC462",
        "error",
        "a shard is missing",
        "The index names a file that is not beside it.",
        "Fetch the missing shard into the same folder.",
    ),
    Code(
        "VC463",
        "error",
        "index and shards disagree",
        "A tensor is in two shards, in none, or in another one than the index says.",
        "Fetch index and shards of one revision.",
    ),
    Code(
        "VC464",
        "error",
        "the file is two formats at once",
        "The file is whole as safetensors, and another reader would take it for a zip archive, or for a pickle that "
        "imports something. Which tensors it holds, and whether it runs anything, depends on the reader.",
        "Do not use the file. Fetch it from its source again.",
    ),
    Code(
        "VC465",
        "error",
        "the weights were left out",
        "The file was saved under torch.serialization.skip_data, which writes the names and leaves room for the bytes. "
        "Nobody has filled them in: every weight would load as zero.",
        "Save the checkpoint again without skip_data.",
    ),
    Code(
        "VC466",
        "warning",
        "every weight is zero",
        "All tensors of more than one dimension hold zeros and nothing else (64 MB are looked at). No trained model is "
        "like that; a copy that reserved its space and did not finish is.",
        "Compare the file with the one it was copied from.",
    ),
    Code(
        "VC470",
        "error",
        "the metadata of a distributed checkpoint is broken",
        "The '.metadata' of a folder is not what torch.distributed.checkpoint writes, or its parts were packed by an "
        "extension of it.",
        "Copy the whole folder again; every rank writes a part of it.",
    ),
    Code(
        "VC471",
        "error",
        "the parts of a distributed checkpoint do not fit together",
        "A part is missing, is cut, has another shape or dtype than is stated, or two parts hold the same elements.",
        "Copy the whole folder again; every rank writes a part of it.",
    ),
    Code(
        "VC472",
        "error",
        "a DeepSpeed checkpoint in pieces",
        "The weights are spread over the files of several ranks (ZeRO stage 3, model parallel), or only the optimizer's "
        "parts are there. DeepSpeed's own program puts them together.",
        "Run the command that the message gives, then check what it wrote.",
    ),
    Code(
        "VC473",
        "error",
        "one part of a distributed checkpoint",
        "The file holds one rank's pieces of the tensors (a .distcp, or safetensors whose metadata say so in "
        "DCP_SHARDING_INFO), or only says where they are (.metadata). The whole is the folder.",
        "Give the folder: viscy-compat check FOLDER.",
    ),
    Code(
        "VC474",
        "warning",
        "one shard of several",
        "The name of the file says that it is one of several, and an index beside it names the others, or should. Most "
        "tensors of the model are not in it.",
        "Give the index: viscy-compat check model.safetensors.index.json.",
    ),
)

_NUMBERS: tuple[Code, ...] = (
    Code(
        "VC490",
        "error",
        "a name that is nearly that of a record which torch looks for",
        "An entry is called like the pickle, a storage or a small record of a torch file but for the case of its "
        "letters or what stands at its end. torch does not look at case, other readers do: they read different files.",
        "Do not use the file. Fetch it from its source again.",
    ),
    Code(
        "VC491",
        "warning",
        "a part of a storage is used by no tensor, and the file has no checksum",
        "Where a tensor was saved whole, nothing of its storage is left over. A damaged stride or offset leaves some, and"
        " so does saving a slice of a larger tensor. Streams of torch before 1.6 carry no checksum that would tell.",
        "Compare the file with the original (sha256sum), or save the model again with torch 1.6 or later.",
    ),
    Code(
        "VC492",
        "warning",
        "bytes follow the end of a torch stream",
        "Nothing reads them, torch neither. A program that saves several objects to one file leaves such bytes, and so does"
        " damage that inserts some further in front; streams of torch before 1.6 carry no checksum that would tell.",
        "Compare the file with the original (sha256sum), or save the model again with torch 1.6 or later.",
    ),
    Code(
        "VC501",
        "error",
        "the outputs differ",
        "On identical seeds, weights and inputs the old class and the candidate return different bytes. The first "
        "module whose output differs is named.",
        "Look at that module. --save-evidence DIR keeps the tensors of both sides.",
    ),
    Code(
        "VC502",
        "error",
        "the seeded initial weights differ",
        "From one torch.manual_seed the two constructors give different weights: random numbers are drawn in another "
        "order or by another rule. Old checkpoints are not touched by it; training runs are no longer reproducible.",
        "Build the layers in the order of the old constructor.",
    ),
    Code(
        "VC503",
        "error",
        "the state after a pass in train mode differs",
        "After the same forward pass in train mode the buffers (running statistics) or the random-number generator "
        "differ.",
        "Compare momentum, eps and the places of dropout.",
    ),
    Code(
        "VC504",
        "error",
        "one side raises where the other does not",
        "The old class and the candidate do not refuse the same configurations and inputs with the same kind of "
        "error, and no row of the accepted differences says that they should not.",
        "Restore the old behaviour, or write the wanted difference down as a row with its reason.",
    ),
    Code(
        "VC505",
        "warning",
        "the comparison says nothing",
        "The outputs hold infinities or NaN on both sides, so equal bytes prove little.",
        "Report it: the case needs another input or configuration.",
    ),
    Code(
        "VC506",
        "error",
        "the numbers are not those recorded",
        "Samples of the candidate's weights or outputs are further from the recorded ones than another CPU or another"
        " torch explains (1e-4 of the root mean square).",
        "Run verify from history (--repo or --wheel) to see where the models part.",
    ),
    Code(
        "VC507",
        "error",
        "the outputs are named or typed differently",
        "forward returns another type, or tensors under other names or in another number, than the old class did.",
        "Return what the old class returned.",
    ),
    Code(
        "VC510",
        "error",
        "a law does not hold",
        "A property that must hold for every configuration and input of a class (old equals new, the shape rule, the "
        "layout, the round trip...) is broken; the case is the smallest that was found.",
        "Run the script that stands below the finding; it shows the failure on that one case.",
    ),
)

_HISTORY: tuple[Code, ...] = (
    Code(
        "VC601",
        "error",
        "no source for the old code",
        "The old source could not be had: no clone, no wheel, no network, or a clone that must not be read.",
        "Name a clone (--repo), a release (--wheel 0.4.0), or compare with the recorded references (--recorded).",
    ),
    Code(
        "VC602",
        "error",
        "the revision does not have it",
        "The clone is there, but not the revision, or not the file in it, or not its content.",
        "Fetch what is missing, or name another revision.",
    ),
    Code(
        "VC603",
        "error",
        "a worker failed",
        "The process that ran one of the two sides died, hung, flooded its output or answered with garbage. Nothing "
        "was decided.",
        "Read its last words; raise --timeout for a slow machine.",
    ),
    Code(
        "VC604",
        "error",
        "another candidate was imported than was asked for",
        "The package that the candidate's worker imported does not lie in the folder that was named, so the "
        "comparison would be about something else.",
        "Name the folder that holds the package viscy_models, or the name of an installed package.",
    ),
    Code(
        "VC605",
        "error",
        "fell back to the recorded references",
        "No source of the old code was within reach, so the candidate was compared with what was recorded, which "
        "nobody had asked for.",
        "Name a source (--repo, --wheel), or accept the references: --recorded or --allow-recorded.",
    ),
    Code(
        "VC606",
        "error",
        "the source is not the recorded one",
        "The files of the old source do not have the git blob ids that are recorded for this release or revision.",
        "Get an untouched clone or wheel. A state of the old code of your own is compared with --rev.",
    ),
    Code(
        "VC607",
        "error",
        "a reference is damaged or unused",
        "A file of legacy_refs was edited by hand, does not fit its digest, or belongs to no generation that is known.",
        "Write the references again: viscy-compat record.",
    ),
    Code(
        "VC608",
        "error",
        "a reference is missing",
        "No reference is recorded for a class, generation or case that the architecture file lists.",
        "Record it: viscy-compat record.",
    ),
    Code(
        "VC609",
        "note",
        "the source is an older generation",
        "The old source is that of an older generation of the class, whose layout differs from today's; the "
        "differences are listed as they are.",
        "viscy-compat remap migrates checkpoints of that generation.",
    ),
    Code(
        "VC620",
        "error",
        "a stage of the gate could not run",
        "Something that the gate must look at was not looked at: a stage ended early, or said nothing about a class.",
        "Read why in the message; a stage that could not run never counts as a pass.",
    ),
    Code(
        "VC621",
        "error",
        "a waiver has expired",
        "A row of the accepted differences has reached its date or its version, so it accepts nothing any more.",
        "Mend what it accepted, or give the row a new expiry and a reason that still holds.",
    ),
    Code(
        "VC622",
        "error",
        "a waiver is not used",
        "Nothing that was found is covered by this row of the accepted differences.",
        "Remove the row.",
    ),
    Code(
        "VC623",
        "error",
        "a file of a known generation is taken for something else",
        "A file with the tensors of a known class and generation is not recognised as such, so 'check' and 'remap' would "
        "mislead those who have one.",
        "Look at the architecture file of the class: its layout, its anchors, the rows of the generation.",
    ),
    Code(
        "VC624",
        "error",
        "an old checkpoint cannot be remapped",
        "A file that the old class of a known generation wrote has no total plan to today's layout.",
        "Look at the rows of the generation in the architecture file of the class.",
    ),
    Code(
        "VC630",
        "warning",
        "the old source is not proven",
        "Files that importing the old class would run are not those that are recorded for any release, by their git blob "
        "ids, or are there besides: any of them may change what the class does. The comparison is with that code.",
        "Compare with fe7a5da^ of an untouched clone, or with the released wheel (leave --repo and --rev out).",
    ),
    Code(
        "VC631",
        "error",
        "a case is undecided",
        "One side told too little to compare (no tensors, no weights, no outputs), or both raised in every case. Two "
        "sides that say nothing are not equal.",
        "Look at what the class returns, and whether both interpreters have what it needs "
        "(--legacy-python, --candidate-python).",
    ),
)

_ENTRIES = (*_KEYS, *_SHAPES, *_ARCHITECTURE, *_TORCH_FILES, *_CONTAINER, *_NUMBERS, *_HISTORY)

CATALOGUE: dict[str, Code] = {entry.id: entry for entry in _ENTRIES}


class Finding(NamedTuple):
    """One cause, said once: its code, a sentence, the keys it concerns, and the fix.

    ``keys`` may be folded patterns (`viscy_compat.layout.fold`).
    """

    code: str
    message: str
    keys: tuple[str, ...] = ()
    fix: str = ""

    @property
    def severity(self) -> Severity:
        """The severity that the catalogue gives to the code."""
        return CATALOGUE[self.code].severity

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as the JSON of the contract has it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "keys": list(self.keys),
            "fix": self.fix,
        }


class Explanation(NamedTuple):
    """An entry of the catalogue as the result of `explain`; shortened to a line where the whole list is shown."""

    entry: Code
    shortened: bool = False
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The code."""
        return self.entry.id

    def to_dict(self) -> dict[str, Any]:
        """Return the entry."""
        return {"code": self.entry.id, **{name: getattr(self.entry, name) for name in Code._fields[1:]}}


class Result(Protocol):
    """What a report holds one of for each file or class that it is about."""

    @property
    def title(self) -> str:
        """The file or class that the result is about."""

    @property
    def exit_code(self) -> int:
        """0, 1 or 2, as the contract has it."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Everything that was found, most severe first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON of the contract has it."""


class Aside(NamedTuple):
    """A file of a folder that is no checkpoint and no fault: what it is. It does not change the exit code."""

    file: str
    what: str


class Report:
    """The results of one run of one command.

    Parameters
    ----------
    command : str
        The command that made it (``"check"``).
    results : Iterable[Result]
        One for each file or class.
    headline : str, optional
        What must be said first: the source that was compared with, a fall-back.
    exit_code : int, optional
        At least this, whatever the results say (a fall-back that nobody asked for is 2).
    exhibits : Exhibits, optional
        Facts, tables and maps about the run as a whole. A result shows its own in a method ``exhibits()``.
    interrupted : bool, optional
        Whether the run was ended before its end, so that results are missing; then nothing is decided as a whole.
    aside : Sequence[Aside], optional
        Files that were passed over, and what they are.
    """

    __slots__ = ("_floor", "aside", "command", "exhibits", "headline", "interrupted", "results")

    def __init__(
        self,
        command: str,
        results: Iterable[Result],
        *,
        headline: str = "",
        exit_code: int = 0,
        exhibits: Exhibits | None = None,
        interrupted: bool = False,
        aside: Sequence[Aside] = (),
    ) -> None:
        self.command, self.results, self.headline = command, tuple(results), headline
        self._floor = max(exit_code, 2 if interrupted else 0)
        self.exhibits, self.interrupted, self.aside = exhibits, interrupted, aside

    @property
    def exit_code(self) -> int:
        """The highest exit code of the results."""
        return max([self._floor, *(result.exit_code for result in self.results)])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all results."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the worst file; None where the results have none (`verify`, `explore`)."""
        verdicts = [result.verdict for result in self.results if hasattr(result, "verdict")]
        return max(verdicts, key=lambda verdict: EXIT_CODES[verdict], default=None)

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``--format json`` prints."""
        return {
            "schema": 1,
            "tool": {"name": "viscy-compat", "version": __version__, "command": self.command},
            **({"headline": self.headline} if self.headline else {}),
            **({"interrupted": True} if self.interrupted else {}),
            "results": [result.to_dict() for result in self.results],
            **({"aside": [row._asdict() for row in self.aside]} if self.aside else {}),
        }
