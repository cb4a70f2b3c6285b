"""What Numba has no word for: comparison of several words at once, prefetch, the lowest bit.

They are expanded where kernels call them, which Numba's cache does not notice: `farsight.table` has
the callers' kernels thrown away when this file changes.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,import-untyped"

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 4
_INT32 = ir.IntType(32)


@intrinsic
def lanes_equal(typingctx, words, at, value):
    """Bits of those of the 4 words from `at` on that equal `value`; one vector comparison."""

    def generate(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        lanes = ir.VectorType(ir.IntType(64), LANES)
        blank = ir.Constant(lanes, ir.Undefined)
        first = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        at = builder.bitcast(builder.gep(array.data, [args[1]]), lanes.as_pointer())
        found = builder.load(at)
        found.align = 8
        wanted = builder.insert_element(blank, args[2], ir.Constant(_INT32, 0))
        wanted = builder.shuffle_vector(wanted, blank, first)
        equal = builder.bitcast(builder.icmp_unsigned("==", found, wanted), ir.IntType(LANES))
        return builder.zext(equal, ir.IntType(64))

    return types.int64(words, types.int64, types.uint64), generate


@intrinsic
def prefetch(typingctx, array, at):
    """Start to load the cache line of an element."""

    def generate(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, args[0])
        address = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [address, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address], kind)
        for_reading, into_every_cache, data = (ir.Constant(_INT32, n) for n in (0, 3, 1))
        pointer = builder.bitcast(builder.gep(view.data, [args[1]]), address)
        builder.call(function, [pointer, for_reading, into_every_cache, data])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def lowest_bit(typingctx, value):
    """Index of the lowest bit set; `value` is not 0."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
