"""The listener role: the door, without anything that reads pixels."""

import gc
import threading

from ichd.app.clock import clock_of
from ichd.app.disk import watermarks
from ichd.app.errands import Errands
from ichd.app.metering import metering
from ichd.app.notify import NOBODY, Watcher
from ichd.app.storage import open_storage
from ichd.app.trail import RoleTrail
from ichd.app.uploading import uploading
from ichd.intake.announced import INSTANCE_AVAILABILITY, PERFORMED_STEP, AnnouncedStudies
from ichd.intake.commitment import PUSH_MODEL, CommitmentRequests
from ichd.intake.counter import Counter
from ichd.intake.dimse.listener import Listener, ListenerConfig
from ichd.intake.dimse.tls import TlsFiles
from ichd.intake.feedback.key_objects import KEY_OBJECT_SELECTION, KeyObjects
from ichd.intake.peers import AllowedPeer
from ichd.intake.promised import PromisedResults
from ichd.intake.service import Operation, Service, by_operation
from ichd.settings import DicomSettings, Settings, TlsSettings
from ichd.store.announcements import Announcements
from ichd.store.arrivals import Arrivals
from ichd.store.commitments import Commitments
from ichd.store.promises import Promises
from ichd.store.reviews import Reviews

#: What the door offers beside images, by SOP class: services, small objects, and the services that a peer may provide
#: to us. A conformance statement says so, and a test proposes every SOP class that there is.
SERVICE_CLASSES = (PUSH_MODEL, INSTANCE_AVAILABILITY, PERFORMED_STEP)
OBJECT_CLASSES = (KEY_OBJECT_SELECTION,)
PROVIDED_CLASSES = (PUSH_MODEL,)
#: For so long the door may be busy with one connection before it looks for the next.
_SLOWEST_DOOR_S = 30.0


def run_listener(settings: Settings, stop: threading.Event, watcher: Watcher = NOBODY) -> None:
    """Listen until `stop` is set."""
    storage = open_storage(settings)
    clock = clock_of(storage.engine)
    arrivals = Arrivals(storage.engine)
    dicom = settings.dicom
    counter = Counter(
        arrivals,
        storage.spool,
        watermarks=watermarks(settings),
        max_instance_bytes=dicom.max_instance_mb << 20,
        max_visit_bytes=dicom.max_association_mb << 20,
    )
    errands = Errands(settings, storage, clock)
    commitment = CommitmentRequests(
        Commitments(storage.engine), arrivals, answerable=errands.answerable, filed=errands.wake
    )
    announced = AnnouncedStudies(Announcements(storage.engine))
    promised = PromisedResults(Promises(storage.engine), arrivals)
    key_objects = KeyObjects(Reviews(storage.engine), arrivals)
    #: By SOP class UID.
    services: dict[str, Service] = {
        PUSH_MODEL: by_operation(
            {Operation.N_ACTION: commitment.accept, Operation.N_EVENT_REPORT: promised.accept},
        ),
        INSTANCE_AVAILABILITY: announced.available,
        PERFORMED_STEP: announced.performed_step,
    }
    listener = Listener(
        listener_config(dicom),
        counter,
        arrivals,
        clock,
        services=services,
        objects={KEY_OBJECT_SELECTION: key_objects.accept},
        # A destination that we asked for commitment opens an association to us, and is its provider there too.
        provided=PROVIDED_CLASSES,
    )
    listener.start()
    watcher.ready(f"takes images at {listener.place}")
    watcher.watch(lambda: listener.idle_s() < _SLOWEST_DOOR_S)
    trail = RoleTrail(storage.engine, settings, "listen", clock=clock)
    with uploading(storage), metering(storage.engine, listener.place, listener.meter.figures, clock):
        trail.started()
        errands.start()
        # What was made so far lives as long as the process: the collector need not look at it in the middle of images.
        gc.collect()
        gc.freeze()
        stop.wait()
        watcher.stopping()
        trail.stopped()
    listener.stop()
    errands.stop()
    storage.engine.dispose()


def listener_config(dicom: DicomSettings) -> ListenerConfig:
    """What the settings mean to the door."""
    return ListenerConfig(
        ae_title=dicom.ae_title,
        host=dicom.host,
        port=dicom.port,
        max_pdu=dicom.max_pdu,
        max_connections=dicom.max_connections,
        max_connections_per_address=dicom.max_connections_per_address,
        max_associations=dicom.max_associations,
        max_associations_per_address=dicom.max_associations_per_address,
        allowed_peers=tuple(AllowedPeer(ae_title=p.ae_title, address=p.address) for p in dicom.allowed_peers),
        require_called_ae_title=dicom.require_called_ae_title,
        tls=None if dicom.tls is None else tls_files(dicom.tls),
        network_timeout_s=dicom.network_timeout_s,
        association_timeout_s=dicom.association_timeout_s,
    )


def tls_files(tls: TlsSettings) -> TlsFiles:
    """The files of the settings, as the door takes them."""
    return TlsFiles(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca)
