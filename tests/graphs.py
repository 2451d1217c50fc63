"""ONNX graphs that misbehave as a challenger may: slow, endless, wrong or in error.

Each takes the column ``x`` and answers ``y``, which is x where it behaves.
"""

from onnx import TensorProto, helper

from roadworthy.models.onnx_graph import IR_VERSION, OPSET

ENDLESS = 10**15


def looping(times: int) -> bytes:
    """Answer x after so many turns of a loop, a million of which take about a second."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_again"]),
            helper.make_node("Add", ["sum", "nothing"], ["sum_again"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.DOUBLE, [None]),
        ],
        [
            helper.make_tensor_value_info("on_again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_again", TensorProto.DOUBLE, [None]),
        ],
    )
    return _model(
        [helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=turn)],
        helper.make_tensor("times", TensorProto.INT64, [], [times]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        helper.make_tensor("nothing", TensorProto.DOUBLE, [], [0.0]),
    )


def failing() -> bytes:
    """Answer x while it is from 0 to 9, and raise otherwise."""
    return _model(
        [
            helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "place"], ["y"]),
        ],
        helper.make_tensor("table", TensorProto.DOUBLE, [10], [float(n) for n in range(10)]),
    )


def rooted() -> bytes:
    """Answer the square root of x squared, which is no number where x is negative."""
    return _model(
        [
            helper.make_node("Sqrt", ["x"], ["root"]),
            helper.make_node("Mul", ["root", "root"], ["y"]),
        ]
    )


def _model(nodes: list, *constants) -> bytes:
    column = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None]) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", column[:1], column[1:], list(constants))
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opset).SerializeToString()
