"""Calls every route with the package that openapi-python-client generates: auth_backend, beside this file.

Arguments: the URL of the gateway, the directory of the emails, an address, and another address.
"""

import email
import email.policy
import re
import sys
import time
from http import HTTPStatus
from pathlib import Path

from auth_backend import AuthenticatedClient, Client
from auth_backend.api.account import delete_account, get_account, register
from auth_backend.api.email import change_email, request_email_verification, verify_email
from auth_backend.api.password import change_password, request_password_reset, reset_password
from auth_backend.api.session import end_other_sessions, end_session, get_session, list_sessions, log_in, log_out
from auth_backend.models import (
    Credentials,
    EmailChange,
    EmailVerification,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    Problem,
)

base_url, mail_directory, address, next_address = sys.argv[1:]
password = "correct horse battery staple"
next_password = "a kettle of seven owls"
public = Client(base_url=base_url)


def bearer(token):
    return AuthenticatedClient(base_url=base_url, token=token)


def succeeds(response, status=HTTPStatus.OK):
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.parsed}"
    return response.parsed


def fails(response, status):
    problem = succeeds(response, status)
    assert isinstance(problem, Problem) and problem.status == status, problem
    return problem


def token_of(recipient, subject):
    """The token of an email, which is sent after the response of its request."""
    for _ in range(1200):
        for file in Path(mail_directory).glob("*.eml"):
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            if message["To"] == recipient and subject in message["Subject"]:
                text = message.get_body(("plain",)).get_content()
                return re.search(r"#(?:verify|reset)=(\S+)", text).group(1)
        time.sleep(0.05)
    raise AssertionError(f"no email: {subject}")


def new_token(credentials):
    return succeeds(log_in.sync_detailed(client=public, body=credentials)).session.token


def accounts_and_sessions(credentials):
    weak = Credentials(email=address, password="short")
    problem = fails(register.sync_detailed(client=public, body=weak), HTTPStatus.BAD_REQUEST)
    assert problem.errors[0].code == "too_short"
    created = succeeds(register.sync_detailed(client=public, body=credentials), HTTPStatus.CREATED)
    client = bearer(created.session.token)
    succeeds(request_email_verification.sync_detailed(client=client), HTTPStatus.ACCEPTED)
    verification = EmailVerification(token=token_of(address, "Confirm your email address"))
    succeeds(verify_email.sync_detailed(client=public, body=verification), HTTPStatus.NO_CONTENT)
    fails(verify_email.sync_detailed(client=public, body=verification), HTTPStatus.FORBIDDEN)
    user = succeeds(get_account.sync_detailed(client=client)).user
    assert user.email == address and user.email_verified
    assert succeeds(get_session.sync_detailed(client=client)).user.id == user.id

    new_token(credentials)
    sessions = succeeds(list_sessions.sync_detailed(client=client)).sessions
    [other] = [session for session in sessions if not session.current]
    succeeds(end_session.sync_detailed(other.id, client=client), HTTPStatus.NO_CONTENT)
    second = bearer(new_token(credentials))
    succeeds(end_other_sessions.sync_detailed(client=client), HTTPStatus.NO_CONTENT)
    fails(get_session.sync_detailed(client=second), HTTPStatus.UNAUTHORIZED)
    return client


def passwords_and_addresses(client):
    change = PasswordChange(current_password=password, new_password=next_password)
    client = bearer(succeeds(change_password.sync_detailed(client=client, body=change)).session.token)
    to_next = EmailChange(email=next_address, password=next_password)
    succeeds(change_email.sync_detailed(client=client, body=to_next), HTTPStatus.ACCEPTED)
    confirmation = EmailVerification(token=token_of(next_address, "Confirm your new email address"))
    succeeds(verify_email.sync_detailed(client=public, body=confirmation), HTTPStatus.NO_CONTENT)

    forgotten = PasswordResetRequest(email=next_address)
    succeeds(request_password_reset.sync_detailed(client=public, body=forgotten), HTTPStatus.ACCEPTED)
    reset = PasswordReset(token=token_of(next_address, "Set a new password"), new_password=password)
    succeeds(reset_password.sync_detailed(client=public, body=reset), HTTPStatus.NO_CONTENT)
    fails(get_account.sync_detailed(client=client), HTTPStatus.UNAUTHORIZED)


def the_end(credentials):
    succeeds(log_out.sync_detailed(client=bearer(new_token(credentials))), HTTPStatus.NO_CONTENT)
    succeeds(delete_account.sync_detailed(client=bearer(new_token(credentials))), HTTPStatus.NO_CONTENT)
    fails(log_in.sync_detailed(client=public, body=credentials), HTTPStatus.UNAUTHORIZED)


passwords_and_addresses(accounts_and_sessions(Credentials(email=address, password=password)))
the_end(Credentials(email=next_address, password=password))
