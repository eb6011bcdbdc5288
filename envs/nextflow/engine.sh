# Which Nextflow runs the pipeline: part of envs/setup.sh, which knows $cache, $envs, say, die, key and quietly.
#
# A Nextflow 25.10 or newer on PATH is used. Otherwise the bundled engine: the jars that pom.xml names, started by start_engine.

own_launcher=$envs/nextflow/nextflow
engine=$cache/engine-$(key "$envs/nextflow/pom.xml" "$envs/nextflow/RunWithOutput.groovy" "$envs/nextflow/engine.sh")

# Asking a Nextflow for its version starts a JVM, so the answer is kept for as long as that file stays as it is.
version_of() {
    local file known=$cache/nextflow-versions version
    file="$(stat --dereference --format '%n %s %Y' "$1") ${NXF_VER:-}"
    version=$(grep --fixed-strings --line-regexp --after-context 1 "$file" "$known" 2> /dev/null | tail -n 1)
    if [ -z "$version" ]; then
        version=$("$1" -v 2> /dev/null < /dev/null | sed -n 's/.*version \([0-9][0-9.]*\).*/\1/p' | head -n 1) || true
        [ -z "$version" ] || { mkdir -p "$cache" && printf '%s\n%s\n' "$file" "$version" >> "$known"; } 2> /dev/null || true
    fi
    echo "$version"
}

# Print the first Nextflow on PATH that is 25.10 or newer and is not our own launcher.
find_nextflow() {
    local candidate version
    while read -r candidate; do
        [ "$candidate" -ef "$own_launcher" ] && continue
        version=$(version_of "$candidate") || true
        if [ -n "$version" ] && printf '25.10\n%s\n' "$version" | sort --version-sort --check=quiet; then
            echo "$candidate"
            return
        fi
    done < <(type -ap nextflow)
    return 1
}

find_java() {
    local home
    for home in "${NXF_JAVA_HOME:-}" "${JAVA_HOME:-}"; do
        if [ -n "$home" ] && [ -x "$home/bin/java" ]; then
            echo "$home/bin/java"
            return
        fi
    done
    type -P java
}

# Add to the list named $1 what the bundled engine needs and this machine lacks.
missing_for_engine() {
    local -n list=$1
    local java version=0
    java=$(find_java) && version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ] || list+=("Java 17 or newer (apt-get install openjdk-17-jre-headless)")
    type -P mvn > /dev/null || list+=("Maven (apt-get install maven), or a Nextflow 25.10 or newer instead of it")
}

nextflow_on_path=$(find_nextflow) || nextflow_on_path=
engine_ready() { [ -n "$nextflow_on_path" ] || [ -e "$engine/.ready" ]; }

make_engine() {
    engine_ready && return
    say "Nextflow, from Maven Central"
    rm -rf "$engine"
    mkdir -p "$engine/first-run"
    quietly "fetching Nextflow" mvn -B -q -U -f "$envs/nextflow/pom.xml" "-Dmaven.repo.local=$cache/maven" \
        dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$engine/jars"
    # Compiled by the Groovy that came along, as a Java runtime alone has no compiler; into a jar, as the archive below takes nothing else.
    cd "$engine/first-run"
    quietly "compiling the launcher" "$(find_java)" -Dgroovy.target.bytecode=17 \
        -cp "$engine/jars/*" org.codehaus.groovy.tools.FileSystemCompiler "$envs/nextflow/RunWithOutput.groovy"
    quietly "packing the launcher" "$python_env/bin/python" -m zipfile -c "$engine/jars/run-with-output.jar" RunWithOutput.class

    # A first run proves that the engine works, and leaves an archive of loaded classes: later runs start a third faster.
    say "first start of Nextflow"
    quietly "the first start of Nextflow" first_start
    cd "$OLDPWD"
    rm -rf "$engine/first-run"
    touch "$engine/.ready"
}

first_start() (
    export NXF_OPTS="-Xlog:disable -XX:ArchiveClassesAtExit=$engine/classes.jsa"
    start_engine run "$envs/nextflow/first_run.nf"
)

# Become the bundled engine (by exec, so that a signal to the launcher reaches it).
start_engine() {
    # Made for a quick start: a head process lives too short for the second compiler, and needs no parallel garbage collector.
    local package java java_options=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
    # An archive that another Java made is passed over; without -Xlog:disable, with a complaint.
    [ ! -e "$engine/classes.jsa" ] || java_options+=(-Xlog:disable -XX:SharedArchiveFile="$engine/classes.jsa")

    # Without these every run succeeds, and -resume silently finds nothing.
    for package in java.lang java.io java.nio java.net java.util java.util.concurrent.locks java.util.concurrent.atomic java.nio.file.spi \
        sun.nio.ch sun.nio.fs sun.net.www.protocol.{http,https,ftp,file} jdk.internal.misc jdk.internal.vm java.util.regex; do
        java_options+=("--add-opens=java.base/$package=ALL-UNNAMED")
    done

    # No plugins, no look at the network; JAVA_TOOL_OPTIONS makes Java print a line that breaks whatever reads its output.
    unset JAVA_TOOL_OPTIONS
    export NXF_HOME=$engine/home NXF_CLI="nextflow $*" NXF_OFFLINE=true NXF_DISABLE_CHECK_LATEST=true
    export NXF_PLUGINS_MODE=prod NXF_PLUGINS_DEFAULT=false NXF_PLUGINS_ALLOWED=
    java=$(find_java) || die "please install Java 17 or newer (apt-get install openjdk-17-jre-headless)"
    # shellcheck disable=SC2086  # NXF_OPTS is a list of options
    exec "$java" "${java_options[@]}" ${NXF_OPTS:-} -cp "$engine/jars/*" RunWithOutput "$@"
}
