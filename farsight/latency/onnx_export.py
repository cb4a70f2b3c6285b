"""LightGBM trees as an ONNX TreeEnsembleRegressor.

LightGBM compares a float32 feature with a float64 threshold, ONNX with a float32 one. For every
float32 x, `x <= t` equals `x <= floor32(t)`, so thresholds are rounded down and both take the same
branch always.
"""

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np
import onnx
from onnx import TensorProto, helper

from farsight.latency.features import FEATURE_COUNT
from farsight.latency.fitted import INPUT_NAME, OUTPUT_NAME

_IR_VERSION = 10
_OPSET = 21
_ML_OPSET = 3


class _Nodes:
    """The columns of a tree ensemble."""

    def __init__(self) -> None:
        self.tree: list[int] = []
        self.node: list[int] = []
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.mode: list[str] = []
        self.true: list[int] = []
        self.false: list[int] = []
        self.leaf_tree: list[int] = []
        self.leaf_node: list[int] = []
        self.leaf_weight: list[float] = []

    def add_tree(self, tree: int, root: Mapping[str, Any]) -> None:
        """Append a tree of LightGBM's model dump, parents before children."""
        pending = [root]
        for node, split in enumerate(pending):
            is_leaf = "split_feature" not in split
            self.tree.append(tree)
            self.node.append(node)
            self.feature.append(0 if is_leaf else split["split_feature"])
            self.threshold.append(0.0 if is_leaf else floor32(split["threshold"]))
            self.mode.append("LEAF" if is_leaf else "BRANCH_LEQ")
            self.true.append(0 if is_leaf else len(pending))
            self.false.append(0 if is_leaf else len(pending) + 1)
            if is_leaf:
                self.leaf_tree.append(tree)
                self.leaf_node.append(node)
                self.leaf_weight.append(split["leaf_value"])
            else:
                pending += (split["left_child"], split["right_child"])


def floor32(threshold: float) -> float:
    """The largest float32 that is not above `threshold`."""
    nearest = np.float32(threshold)
    is_above = float(nearest) > threshold
    return float(np.nextafter(nearest, np.float32(-np.inf)) if is_above else nearest)


def export(booster: lightgbm.Booster | None) -> bytes:
    """The trees up to the best iteration as a serialised model; without a booster it answers 0.

    Input (rows, FEATURE_COUNT) float32, finite; output (rows, 1) float32.
    """
    nodes = _Nodes()
    trees = [] if booster is None else booster.dump_model()["tree_info"]
    for tree, described in enumerate(trees or [{"tree_structure": {"leaf_value": 0.0}}]):
        nodes.add_tree(tree, described["tree_structure"])
    graph = helper.make_graph(
        [_ensemble(nodes)],
        "residual",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, [None, FEATURE_COUNT])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _ensemble(nodes: _Nodes) -> onnx.NodeProto:
    return helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT_NAME],
        [OUTPUT_NAME],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=nodes.tree,
        nodes_nodeids=nodes.node,
        nodes_featureids=nodes.feature,
        nodes_values=nodes.threshold,
        nodes_modes=nodes.mode,
        nodes_truenodeids=nodes.true,
        nodes_falsenodeids=nodes.false,
        nodes_missing_value_tracks_true=[0] * len(nodes.tree),
        target_ids=[0] * len(nodes.leaf_tree),
        target_treeids=nodes.leaf_tree,
        target_nodeids=nodes.leaf_node,
        target_weights=nodes.leaf_weight,
    )
