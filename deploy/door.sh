#!/bin/sh
# Starts the door: nginx with a login, and with the certificate in /tls, or a new one for itself.
set -eu
umask 077
host=${DOOR_HOST:-localhost}

if [ ! -s /tls/door.crt ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host" -keyout /tls/door.key -out /tls/door.crt 2> /dev/null
fi
printf 'team:%s\n' "$(printf %s "$DOOR_PASSWORD" | openssl passwd -6 -stdin)" > /tmp/users
unset DOOR_PASSWORD

login='"taxi_assets"'
predictions=$login
[ "${DOOR_PREDICTIONS:-login}" != open ] || predictions=off
# Names are looked up again when a service has another address after a restart.
resolver=$(awk '/^nameserver/ {print $2; exit}' /etc/resolv.conf)
sed -e "s/@HOST@/$host/" -e "s/@PREDICTIONS@/$predictions/" -e "s/@LOGIN@/$login/" \
    -e "s/@RESOLVER@/$resolver/" /opt/door/door.conf > /tmp/door.conf
exec nginx -c /tmp/door.conf
