import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ResultKind;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;

/** Runs the statements on standard input, each ended by a NUL byte, and prints the rows of each query and a line "--" after them. */
public class FlinkSQL {
    public static void main(String[] args) throws Exception {
        Configuration config = new Configuration();
        config.setString("parallelism.default", "1");
        config.setString("table.local-time-zone", "UTC");
        config.setString("taskmanager.memory.managed.size", "128m");
        config.setString("taskmanager.memory.network.min", "64m");
        config.setString("taskmanager.memory.network.max", "64m");
        MiniCluster cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
            .setConfiguration(config).setNumTaskManagers(1).setNumSlotsPerTaskManager(4).withRandomPorts().build());
        cluster.start();
        config.setString("execution.target", "remote");
        config.setString("rest.address", "127.0.0.1");
        config.setString("rest.port", String.valueOf(cluster.getRestAddress().get().getPort()));

        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.newInstance().inBatchMode().withConfiguration(config).build());
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String statement : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\0")) {
            try {
                print(tables.executeSql(statement), out);
            } catch (Exception e) {
                throw new Exception("run " + statement, e);
            }
        }
        cluster.close();
    }

    private static void print(TableResult result, PrintStream out) throws Exception {
        if (result.getResultKind() != ResultKind.SUCCESS_WITH_CONTENT) {
            return;
        }
        try (var rows = result.collect()) {
            while (rows.hasNext()) {
                Row row = rows.next();
                List<String> cells = new ArrayList<>();
                for (int i = 0; i < row.getArity(); i++) {
                    cells.add(String.valueOf(row.getField(i)));
                }
                out.println(String.join("\t", cells));
            }
        }
        out.println("--");
    }
}
