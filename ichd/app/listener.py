"""The listener role: the door, without anything that reads pixels."""

import threading

from ichd.app.clock import utc_now
from ichd.app.storage import open_storage
from ichd.intake.admit import Counter
from ichd.intake.peers import AllowedPeer
from ichd.intake.scp import Listener, ListenerConfig
from ichd.settings import Settings
from ichd.store.arrivals import Arrivals


def run_listener(settings: Settings, stop: threading.Event) -> None:
    """Listen until `stop` is set."""
    storage = open_storage(settings)
    arrivals = Arrivals(storage.engine)
    dicom = settings.dicom
    config = ListenerConfig(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=dicom.port,
        max_associations=dicom.max_associations,
        max_pdu=dicom.max_pdu,
        max_instance_bytes=dicom.max_instance_mb << 20,
        allowed_peers=tuple(AllowedPeer(ae_title=p.ae_title, address=p.address) for p in dicom.allowed_peers),
        network_timeout_s=dicom.network_timeout_s,
    )
    counter = Counter(
        arrivals,
        storage.spool,
        min_free_fraction=1 - settings.spool.high_watermark,
        max_instance_bytes=dicom.max_instance_mb << 20,
        max_visit_bytes=dicom.max_association_mb << 20,
    )
    listener = Listener(config, counter, arrivals, utc_now)
    listener.start()
    stop.wait()
    listener.stop()
    storage.engine.dispose()
