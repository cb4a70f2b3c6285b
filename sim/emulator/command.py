"""`farsight emulate`: flags to settings."""

from farsight.local.programs import CACHE_DIR
from sim.emulator import options

WORK_DIR = CACHE_DIR / "emulator"


def emulate(
    pods: options.Pods = 1,
    model: options.Model = "emulated",
    hardware: options.Hardware = "h100-1",
    tokenizer: options.Tokenizer = "",
    work_dir: options.WorkDir = WORK_DIR,
    lora: options.Lora = None,
    block_tokens: options.BlockTokens = 0,
    kv_tokens: options.KvTokens = 0,
    max_model_tokens: options.MaxModelTokens = 0,
    max_sequences: options.MaxSequences = 0,
    host: options.Host = "127.0.0.1",
    base_port: options.BasePort = 0,
    events_base_port: options.EventsBasePort = 0,
    replay_base_port: options.ReplayBasePort = 0,
    speed: options.Speed = 1.0,
    output_tokens: options.OutputTokens = 256,
    seed: options.Seed = 0,
    drain_s: options.DrainS = 5.0,
) -> None:
    """Serve modelled vLLM pods in real time, without a GPU or a model."""
    # Imported late: the command line should not wait for the kernels' compiler.
    from sim.emulator.serve import changed, serve
    from sim.emulator.settings import EmulatorSettings

    settings = EmulatorSettings(
        spec=changed(hardware, block_tokens, kv_tokens, max_sequences),
        model=model,
        loras=tuple(lora or ()),
        max_model_tokens=max_model_tokens,
        pods=pods,
        host=host,
        base_port=base_port,
        events_base_port=events_base_port,
        replay_base_port=replay_base_port,
        speed=speed,
        output_tokens=output_tokens,
        seed=seed,
        drain_s=drain_s,
    )
    serve(settings, tokenizer, work_dir)
