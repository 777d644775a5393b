# SPDX-License-Identifier: Apache-2.0
"""python3 -m lstmd_convert FILE OUT.safetensors"""

import argparse
import sys

from .convert import LAYOUTS, Options, convert
from .errors import ConvertError

EPILOG = """\
examples:
  python3 -m lstmd_convert model.pt model.safetensors
  python3 -m lstmd_convert forecaster.pth model.safetensors --layer rnn --head fc
  python3 -m lstmd_convert model.keras model.safetensors
  python3 -m lstmd_convert model.weights.h5 model.safetensors --activation tanh --recurrent-activation sigmoid
  python3 -m lstmd_convert old.ckpt model.safetensors --input-size 10 --hidden-size 12

What a layer had and a file cannot say: batch_first and return_sequences are not part of a model (each request says
how its tensors lie and which outputs it wants), dropout has no effect, a Keras Masking layer is a mask in the request.
Nothing in the file is executed. Exit status: 0, or 2 with one line that says what is wrong.
"""


def parser():
    p = argparse.ArgumentParser(
        prog="lstmd_convert",
        description="Turns a framework's checkpoint that holds an LSTM into a model file for lstmd: .pt and .pth "
        "(PyTorch state_dict), .keras, .h5, .weights.h5 (Keras 2 and 3), .pdparams (PaddlePaddle), .ckpt (MindSpore).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("file", metavar="FILE")
    p.add_argument("out", metavar="OUT.safetensors")
    p.add_argument(
        "--spec", metavar="lstm.json", help="fields of lstmd.v1.ModelSpec in JSON; they go over what the file says"
    )
    p.add_argument("--layer", metavar="NAME", help="which LSTM, where the model has other parts too")
    p.add_argument("--head", metavar="NAME", help="a dense layer on the LSTM's output (torch, Paddle, MindSpore)")
    p.add_argument("--key", metavar="NAME", help="where in the file the state_dict is, for example model.encoder")
    p.add_argument("--layout", choices=LAYOUTS, help="how the weights lie, where it is not clear from the file")
    p.add_argument("--direction", choices=("forward", "reverse", "go_backwards", "bidirectional"))
    g = p.add_argument_group("MindSpore's flat weight vector")
    g.add_argument("--input-size", type=positive, default=0, metavar="N")
    g.add_argument("--hidden-size", type=positive, default=0, metavar="N")
    g.add_argument("--num-layers", type=positive, default=1, metavar="N")
    g.add_argument("--bidirectional", action="store_true")
    g.add_argument("--no-bias", action="store_true")
    g = p.add_argument_group("Keras files without a configuration (weights only)")
    g.add_argument("--activation", metavar="NAME", help="Keras name, for example tanh")
    g.add_argument("--recurrent-activation", metavar="NAME", help="Keras name, for example sigmoid")
    g.add_argument("--merge-mode", choices=("concat", "sum", "mul", "ave"))
    g.add_argument("--keras-version", type=int, choices=(2, 3), help="whose hard_sigmoid is meant")
    return p


def positive(text):
    value = int(text)
    if not 0 < value <= 65536:
        raise argparse.ArgumentTypeError(f"{value} is not in 1 to 65536")
    return value


def main(arguments=None):
    args = vars(parser().parse_args(arguments))
    source, target = args.pop("file"), args.pop("out")
    try:
        spec, layout, notes = convert(source, target, Options(**args))
    except ConvertError as e:
        return fail(e)
    except OSError as e:
        return fail(f"{e.filename or source}: {e.strerror or e}")
    except MemoryError:
        return fail(f"{source}: not enough memory to read it")
    except Exception as e:  # a damaged file found a way that no reader foresaw: still one line, never a traceback
        return fail(f"{source}: cannot be read ({type(e).__name__}: {e})")
    for note in notes:
        print(f"lstmd_convert: note: {note}", file=sys.stderr)
    way = spec.get("direction", "DIRECTION_FORWARD").removeprefix("DIRECTION_").lower()
    print(
        f"{target}: {layout} LSTM, {spec['input_size']} inputs, {spec['hidden_size']} units, "
        f"{spec.get('num_layers', 1)} layer(s), {way}"
    )
    return 0


def fail(message):
    print("lstmd_convert: error: " + " ".join(str(message).split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
