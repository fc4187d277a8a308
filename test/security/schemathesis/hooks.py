"""Sessions for the calls of Schemathesis: one for all operations, and a new one for each call that would end it."""

import itertools
import os

import requests
import schemathesis

ORIGIN = os.environ["PRODUCT_ORIGIN"]
PASSWORD = "correct horse battery staple"
ENDING = ["logOut", "deleteAccount", "changePassword"]
numbers = itertools.count()


class Session:
    def get(self, case, context):
        credentials = {"email": f"generated{next(numbers)}@example.org", "password": PASSWORD}
        response = requests.post(f"{ORIGIN}/reg", json=credentials, timeout=30)
        response.raise_for_status()
        return response.json()["session"]["token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=None).apply_to(operation_id=ENDING)
class NewSession(Session):
    pass


@schemathesis.auth(refresh_interval=100000).skip_for(operation_id=ENDING)
class SharedSession(Session):
    pass
