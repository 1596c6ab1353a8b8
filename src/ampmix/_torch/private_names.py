"""The names outside PyTorch's public interface that this folder uses; no other folder uses any."""

from __future__ import annotations

PRIVATE_NAMES = {
    "torch._C._autograd._top_saved_tensors_default_hooks": (
        "2.13.0",
        "absent from 2.4.0: activation checkpointing is then not seen by its hooks",
    ),
    "torch._C._functorch.peek_interpreter_stack": ("2.4.0", ""),
    "torch._C._is_tracing": ("2.4.0", ""),
    "torch._C._will_engine_execute_node": ("2.4.0", ""),
    "torch._compile": ("2.4.0", ""),
    "torch._compile._disable_dynamo": ("2.4.0", ""),
    "torch._dynamo.eval_frame": ("2.4.0", ""),
    "torch._dynamo.external_utils": ("2.4.0", ""),
    "torch._standard_gamma": ("2.4.0", ""),
    "torch.cpu._is_avx512_bf16_supported": (
        "2.13.0",
        "absent from 2.4.0: encoders train in float32 on CPUs unless told otherwise",
    ),
    "torch.cpu._is_vnni_supported": (
        "2.13.0",
        "absent from 2.4.0: 7 bits of int8 weights are used",
    ),
    "torch.distributed._composable.fsdp.FSDPModule": (
        "2.4.0",
        "looked for only where torch.distributed.fsdp has no FSDPModule",
    ),
    "torch.nn.modules.batchnorm._BatchNorm": ("2.4.0", ""),
    "torch.nn.modules.instancenorm._InstanceNorm": ("2.4.0", ""),
    "torch.ops.mkldnn._linear_pointwise": ("2.4.0", "PyTorch's own product of matrices"),
}
"""Name: the lowest version of torch it was seen in, and what stands in for it, "" if nothing does.

Looked at were 2.4.0, the lowest that pyproject.toml allows, and 2.13.0; not those between.
"""
