#!/bin/sh
# compose.sh - does the service of deploy/compose.yaml keep every job it took
# while its parts are restarted?
#
# usage: tests/compose.sh [IMAGE-BEFORE]
# With an older image the service starts as that one (with BEFORE_FILE, one more
# compose file, if it needs that) and is upgraded under load first. Needs Docker,
# and the image (IMAGE, foreman:latest); takes down what it brought up, data and
# all.
set -eu

cd "$(dirname "$0")/../deploy"
IMAGE=${IMAGE:-foreman:latest}
export IMAGE
export PORT="${PORT:-18080}"
export FOREMAN_OLLAMA_URL=http://target:11435
export COMPOSE_PROJECT_NAME=foreman-compose-test
export COMPOSE_FILE="${COMPOSE_FILE:-compose.yaml}:../tests/compose.fake.yaml"
clients=$COMPOSE_PROJECT_NAME-clients
ids=$(mktemp)

tidy() {
    status=$?
    trap '' EXIT INT TERM
    rm -f "$ids"
    docker rm -f "$clients" >/dev/null 2>&1 || true
    [ "$status" -eq 0 ] || docker compose logs --no-color --tail 30
    docker compose down -v --timeout 20 >/dev/null 2>&1 || true
    exit "$status"
}
trap tidy EXIT
trap 'exit 1' INT TERM

up() { docker compose up -d --wait --wait-timeout 180; }

# The ids that were acknowledged so far.
taken() { docker logs "$clients" 2>/dev/null; }

# Wait until so many more are.
more() {
    want=$(($(taken | wc -l) + $1))
    for _ in $(seq 600); do
        [ "$(taken | wc -l)" -lt "$want" ] || return 0
        sleep 0.1
    done
    echo "no jobs are taken any more" >&2
    return 1
}

# Every set of overlays is a valid one.
for overlays in '' :compose.traefik.yaml :compose.litestream.yaml \
    :compose.traefik.yaml:compose.litestream.yaml; do
    env COMPOSE_FILE="compose.yaml$overlays" TRAEFIK_HOST=foreman.example \
        REPLICA_URL=file:///backup/foreman docker compose config -q
done

docker build -q --target fake-ollama --build-arg "DEBIAN=${DEBIAN:-bookworm}" \
    -t foreman-fake-ollama .. >/dev/null

if [ $# -gt 0 ]; then
    env IMAGE="$1" COMPOSE_FILE="$COMPOSE_FILE${BEFORE_FILE:+:$BEFORE_FILE}" \
        docker compose up -d --wait --wait-timeout 180
else
    up
fi

# Four clients, each one job after the other; a job whose id they print was
# acknowledged.
docker run -d --name "$clients" --network "${COMPOSE_PROJECT_NAME}_default" \
    --env FOREMAN_URL=http://caddy:8080 --stop-timeout 1 "$IMAGE" sh -c '
        for model in a b a b; do
            while :; do
                echo hello | foreman submit --model $model - 2>/dev/null
                sleep 0.1
            done &
        done
        wait' >/dev/null
more 20

if [ $# -gt 0 ]; then
    echo "upgrade, with a queue: the target is away"
    docker compose stop door
    more 20
    up
    more 20
fi
for service in worker responder caddy; do
    echo "restart $service"
    docker compose restart "$service"
    more 20
done
echo "restart all"
docker compose restart worker responder caddy
more 20

docker stop "$clients" >/dev/null
taken >"$ids"
docker compose exec -T --env FOREMAN_URL=http://caddy:8080 responder sh -c '
    lost=0
    while read -r id; do
        foreman wait --timeout 2m "$id" >/dev/null 2>&1 || { echo "$id: $?"; lost=$((lost + 1)); }
    done
    exit "$((lost > 0))"' <"$ids"
echo "$(wc -l <"$ids") jobs were acknowledged, each was done"
