"""What a train loop hears of Ctrl-C and SIGTERM."""

import os
import signal

import pytest

from svhn_jax.training import signals


def test_sigterm_sent_twice_is_noted_and_only_ctrl_c_after_it_interrupts():
    before = signal.getsignal(signal.SIGTERM)
    with signals.noted() as received:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM] * 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
